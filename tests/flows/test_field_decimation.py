"""Decimation of a field with a known action: what the action tells is exact, the rest a density like any other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import flows, lattice, models
from jaxrg.flows import line_densities, local_potentials, one_site
from jaxrg.flows.field_decimation import _sample
from jaxrg.flows.field_passes import levels_of

QUARTIC = 6.0
OPEN = lattice.hypercubic((8, 8), periodic=False)


def phi4(side: int = 8, quartic: Any = QUARTIC, mass_squared: Any = -4.0, **others: Any) -> models.Phi4:
    return models.Phi4(lattice.hypercubic((side, side)), mass_squared, quartic, **others)


def loud(params, size=0.1):
    """Parameters under which no part of the network is idle."""
    leaves, structure = jax.tree.flatten(params)
    numbers = np.random.default_rng(3)
    return structure.unflatten([leaf + jnp.asarray(size * numbers.normal(size=leaf.shape), "f") for leaf in leaves])


DENSITY = flows.field_decimation(phi4(), num_features=2)
PARAMS = loud(
    jax.tree.map(lambda leaf: np.zeros(leaf.shape, "f"), jax.eval_shape(DENSITY.init, jax.random.key(0))), 0.2
)
POTENTIAL = DENSITY.potential


def of_site(field, quadratic=0.0, quartic=QUARTIC, kinetic=1.0):
    """By quadrature of many points: the points, the density there without its normaliser, and the normaliser."""
    x = np.linspace(-4, 4, 40_001)
    density = np.exp(2 * kinetic * field * x - quadratic * x**2 - quartic * x**4)
    return x, density, np.sum(density) * (x[1] - x[0])


@pytest.mark.parametrize("couplings", [(0.0, 6.0, 1.0), (0.0, 4.398, 1.0), (1.5, 0.7, 0.4), (-3.0, 2.0, 0.5)])
def test_the_normaliser_of_a_site_is_its_integral(couplings):
    potential = one_site.Potential(*map(jnp.float32, couplings))
    table = jax.jit(one_site.log_z)(potential)
    fields = np.linspace(-1, 1, 41) * 3.9 * float(potential.bound)
    exact = [np.log(of_site(field, *couplings)[2]) for field in fields]
    found = jax.jit(lambda table, x: table(x))(table, jnp.float32(fields))
    np.testing.assert_allclose(found, exact, atol=1e-5)
    slope = jax.jit(jax.vmap(jax.grad(lambda x: table(x))))(jnp.float32(fields))
    means = [
        2 * couplings[2] * np.average(of_site(f, *couplings)[0], weights=of_site(f, *couplings)[1]) for f in fields
    ]
    np.testing.assert_allclose(slope, means, atol=2e-4)


def test_draws_are_the_quantiles_of_their_density():
    uniforms = (np.arange(5000) + 0.5) / 5000
    bound = POTENTIAL.bound
    points = line_densities.grid(bound)[:, None]
    for field in (0.0, 0.7, 3.0, 6.0):
        logs = jnp.broadcast_to(POTENTIAL.log_density(points) + 2 * field * points, (len(points), 5000))
        found = np.asarray(line_densities.draw(jnp.float32(uniforms), logs, bound), np.float64)
        x, density, _ = of_site(field)
        cumulative = (np.cumsum(density) - density / 2) / np.sum(density)
        np.testing.assert_allclose(np.interp(found, x, cumulative), uniforms, atol=1e-4)
        for power in (1, 2, 3, 4):  # on average the quantiles are as good as the integral is
            np.testing.assert_allclose(np.mean(found**power), np.average(x**power, weights=density), atol=2e-4)


@pytest.mark.parametrize(("quartic", "error"), [(4.572, 4e-4), (0.8, 3e-3)])
def test_draws_have_the_density_that_is_stated(quartic, error, x64):
    """Also of the widest range beside the width that is taken."""
    uniforms = (np.arange(20_000) + 0.5) / 20_000
    potential = one_site.Potential(*map(jnp.float64, (0.0, quartic, 1.0)))
    points = line_densities.grid(potential.bound)[:, None]
    for field in (0.0, 2.0):
        logs = jnp.broadcast_to(potential.log_density(points) + 2 * field * points, (len(points), len(uniforms)))
        x = np.asarray(line_densities.draw(jnp.asarray(uniforms), logs, potential.bound))
        stated = 2 * field * x - quartic * x**4 - np.log(of_site(field, 0.0, quartic)[2])
        off = (np.log(np.gradient(uniforms, x)) - stated)[50:-50]
        assert np.sqrt(np.mean(off**2)) < error


def test_draws_follow_the_logarithms_at_fixed_quantiles(x64):
    uniforms, bound = jnp.array([0.02, 0.3, 0.5, 0.97]), jnp.float64(2.0)
    points = line_densities.grid(bound)[:, None]

    @jax.jit
    def at(slopes):
        return line_densities.draw(uniforms, -4 * points**4 + slopes[:1] * points + slopes[1:] * points**2, bound)

    slopes = jnp.broadcast_to(jnp.array([0.4, -1.0])[:, None], (2, 4))
    step = 1e-4
    for index in range(2):
        moved = jnp.zeros((2, 4)).at[index].set(step)
        numerical = (at(slopes + moved) - at(slopes - moved)) / (2 * step)
        np.testing.assert_allclose(jax.jvp(at, (slopes,), (moved / step,))[1], numerical, atol=2e-3)


def test_the_smallest_and_the_largest_uniform_numbers_have_quantiles_and_derivatives():
    points = line_densities.grid(jnp.float32(2))[:, None]
    ends = jnp.array([0, 1 - 2**-23], jnp.float32)

    def at(slopes):
        return line_densities.draw(ends, -5 * points**4 + slopes[:1] * points, jnp.float32(2))

    (values, gradients), (x, density, _) = jax.jvp(at, (jnp.zeros((1, 2)),), (jnp.ones((1, 2)),)), of_site(0, 0, 5, 0)
    cumulative = np.cumsum(density) / np.sum(density)
    np.testing.assert_allclose(values, np.interp([2**-24, 1 - 2**-24], cumulative, x), atol=0.02)
    assert np.all((np.asarray(gradients) > 0) & (np.asarray(gradients) < 0.2))


def test_sites_that_are_not_learned_have_the_density_of_the_action():
    model, sites = phi4(), one_site.exact_sites(8)
    numbers = np.random.default_rng(0)
    fields = jnp.asarray(0.5 * numbers.normal(size=(40, 64)), "f")
    log_prob = jax.jit(one_site.log_prob)
    half = fields.at[1:, sites.half.ravel()[0]].set(jnp.linspace(-1.2, 1.2, 39))
    half = half.at[1:].set(jnp.where(jnp.arange(64) == sites.half.ravel()[0], half[1:], fields[0]))
    change = log_prob(POTENTIAL, sites, half.T) + jax.vmap(model.action)(half.reshape(-1, 8, 8))
    np.testing.assert_allclose(change, change[0], atol=2e-5)
    # A site of the quarter, with the half summed out: the action of the even sites is -sum of ln Z.
    site = sites.quarter[1, 0]
    moved = jnp.where(jnp.arange(64) == site, jnp.linspace(-1.2, 1.2, 40)[:, None], fields[0])
    one = sites._replace(half=sites.half[:, :0], around_half=sites.around_half[..., :0])
    found = np.asarray(log_prob(POTENTIAL, one, moved.T), np.float64)
    around = np.asarray(moved, np.float64)[:, sites.around_half].sum(axis=2)  # [40, 8, 4] of all odd sites
    effective = np.log(np.vectorize(lambda field: of_site(field)[2])(around)).sum(axis=(1, 2))
    effective += -QUARTIC * np.asarray(moved, np.float64)[:, site] ** 4
    np.testing.assert_allclose(found - effective, found[0] - effective[0], atol=3e-5)


def test_sites_that_are_not_learned_have_densities_of_integral_one():
    sites, numbers = one_site.exact_sites(8), np.random.default_rng(1)
    x = np.linspace(-2.2, 2.2, 400)
    for name, place in (("half", (3, 1)), ("quarter", (1, 1))):
        chosen = {field: np.asarray(getattr(sites, field))[:1, ..., :0] for field in sites._fields}
        site = getattr(sites, name)[place]
        around = getattr(sites, f"around_{name}")[place[0], ..., place[1]]
        chosen |= {name: np.array([[site]]), f"around_{name}": around[None, ..., None]}
        field = np.where(np.arange(64) == site, x[:, None], 0.6 * numbers.normal(size=64))
        logs = jax.jit(one_site.log_prob)(POTENTIAL, one_site.Sites(**chosen), jnp.asarray(field.T, "f"))
        np.testing.assert_allclose(np.sum(np.exp(np.asarray(logs, np.float64))) * (x[1] - x[0]), 1, atol=1e-5)


@pytest.mark.parametrize("side", [8, 12, 20, 32])
def test_every_site_is_drawn_once_and_knows_only_earlier_ones(side):
    drawn = set()
    for number, level in reversed(list(enumerate(levels_of(side, 4.3)))):
        passes = level.passes
        for place in range(len(passes.offsets)):
            targets, known = level.sites(type(passes)(*(values[place] for values in passes)))
            rows, columns = np.divmod(np.asarray(targets), level.side)
            sites = {(int(r) << number, int(c) << number) for r, c in zip(rows, columns, strict=True)}
            seen = np.asarray(known)[np.asarray(passes.is_known[place])].ravel()
            assert np.all(np.asarray(known)[~np.asarray(passes.is_known[place])] == level.side**2)
            assert {(int(s) // level.side << number, int(s) % level.side << number) for s in seen} <= drawn
            assert not sites & drawn
            drawn |= sites
    exact = one_site.exact_sites(side)
    for targets, around in ((exact.quarter, exact.around_quarter), (exact.half, exact.around_half)):
        sites = {divmod(int(s), side) for s in targets.ravel()}
        assert not sites & drawn
        if targets is exact.half:
            assert {divmod(int(s), side) for s in around.ravel()} <= drawn
        drawn |= sites
    assert len(drawn) == side**2
    centre, near = exact.quarter[1, 0], exact.around_quarter[1, ..., 0]
    offsets = sorted(
        tuple((np.array(divmod(int(s), side)) - divmod(int(centre), side) + 2) % side - 2) for s in near.flat
    )
    diagonal = [(i, j) for i in (-1, 1) for j in (-1, 1)]
    assert offsets == sorted(2 * diagonal + [(2, 0), (-2, 0), (0, 2), (0, -2)])


def test_terms_are_mirrored_with_the_sign_and_the_same_in_all_directions():
    level = levels_of(8, 4.3)[0]
    static = local_potentials.tables(level.passes)
    weights = jax.tree.map(lambda leaf: leaf[1], PARAMS["levels"][0])
    static = local_potentials.Tables(*(values[1] for values in static))
    known = jnp.asarray(0.5 * np.random.default_rng(2).normal(size=(static.images.shape[1], 3)), "f")
    known = jnp.where(level.passes.is_known[1][:, None], known, 0)
    found = jax.jit(local_potentials.coefficients)
    plain = found(weights, static, known, POTENTIAL.bound)
    sign = np.float32([-1] * local_potentials.NUM_ODD + [1] * local_potentials.NUM_EVEN)[:, None]
    np.testing.assert_allclose(found(weights, static, -known, POTENTIAL.bound), sign * plain, rtol=1e-5, atol=1e-6)
    for image in static.images:
        np.testing.assert_allclose(found(weights, static, known[image], POTENTIAL.bound), plain, rtol=1e-4, atol=1e-5)


def test_draws_come_with_their_density_level_by_level():
    draws, log_prob = DENSITY.sample(jax.random.key(1), PARAMS, 2000)
    np.testing.assert_allclose(DENSITY.log_prob(PARAMS, draws), log_prob, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(DENSITY.log_prob(PARAMS, -draws), log_prob, rtol=1e-5, atol=1e-4)
    coarse = draws[:, ::2, ::2]
    fields, refined = DENSITY.refine(jax.random.key(2), PARAMS, coarse, 1)
    np.testing.assert_array_equal(fields[:, ::2, ::2], coarse)
    top = DENSITY.level_log_prob(PARAMS, coarse, 1)
    np.testing.assert_allclose(DENSITY.log_prob(PARAMS, fields), top + refined, rtol=1e-5, atol=1e-4)


def test_draws_follow_the_density_and_it_integrates_to_one():
    # The mean of q'/q over draws of q is the integral of q', if draws are of q.
    other = loud(PARAMS, 0.01)
    draws, log_prob = DENSITY.sample(jax.random.key(3), PARAMS, 2000)
    ratios = np.exp(np.asarray(DENSITY.log_prob(other, draws) - log_prob, np.float64))
    assert 0.01 < ratios.std() < 1
    assert abs(ratios.mean() - 1) < 5 * ratios.std() / 2000**0.5


@pytest.mark.slow
def test_derivatives_of_draws_are_finite_and_none_is_idle():
    gradients = jax.jit(jax.grad(lambda params: jnp.sum(DENSITY.sample(jax.random.key(4), params, 2)[0] ** 3)))(PARAMS)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradients))
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradients))


def test_other_couplings_are_not_compiled_anew():
    DENSITY.sample(jax.random.key(1), PARAMS, 2000)
    before = _sample._cache_size()
    other = flows.field_decimation(phi4(quartic=5.0), num_features=2)
    fields, _ = other.sample(jax.random.key(1), PARAMS, 2000)
    assert _sample._cache_size() == before
    assert bool(jnp.all(fields != DENSITY.sample(jax.random.key(1), PARAMS, 2000)[0]))


def test_parameters_go_on_to_twice_the_side():
    densities = [flows.field_decimation(phi4(s), num_features=2) for s in (16, 32, 64)]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape), jax.eval_shape(densities[0].init, jax.random.key(0)))
    for density in densities[1:]:
        params = flows.extended_decimation(params)
        expected = jax.eval_shape(density.init, jax.random.key(0))
        assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flows.field_decimation(phi4(4)), r"action: expected two equal sides, a multiple of 4"),
        (lambda: flows.field_decimation(phi4(36)), r"action: expected two equal sides"),
        (lambda: flows.field_decimation(models.Phi4(OPEN, -4.0, 6.0)), r"action: expected a periodic lattice"),
        (lambda: flows.field_decimation(abs), r"action: expected a jaxrg.models.Phi4, got"),
        (lambda: flows.field_decimation(phi4(quartic=0.0)), r"action: expected positive quartic"),
        (lambda: flows.field_decimation(phi4(quartic=0.1, mass_squared=-90.0)), "expected densities .* are wide"),
        (lambda: flows.field_decimation(phi4(quartic=0.5, mass_squared=-6.0)), "expected densities .* are wide"),
        (lambda: flows.field_decimation(phi4(mass_squared=jnp.ones((8, 8)))), r"same mass_squared"),
        (
            lambda: DENSITY.log_prob(PARAMS, jnp.zeros((0, 8, 8))),
            r"configurations: expected \[num_samples, 8, 8\] with",
        ),
        (lambda: DENSITY.log_prob(PARAMS, jnp.zeros((2, 4, 4))), r"configurations: expected shape \(2, 8, 8\)"),
        (lambda: DENSITY.log_prob({"levels": ()}, jnp.zeros((2, 8, 8))), r"params: expected those of 2 levels"),
        (lambda: DENSITY.refine(jax.random.key(0), PARAMS, jnp.zeros((2, 4, 4)), 2), r"level: expected at most 1"),
        (lambda: flows.extended_decimation(PARAMS), r"params: expected those of a decimation with two levels or more"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
