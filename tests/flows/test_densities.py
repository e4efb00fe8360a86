"""Priors, flows with priors and their symmetrisation: normalised by quadrature, exact against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats as densities

from jaxrg import flows
from jaxrg.base import Bijector

SHAPES = {0: (3, 2), 1: (4,)}
SCALES = {0: 0.5, 1: 2.0}


def affine_flow(size: int) -> Bijector:
    """y = shift + exp(log_scale) x, of parameters that start at zero."""

    def init(key):
        return jnp.zeros(size), jnp.zeros(size)

    def beside(values, x):
        return values.astype(x.dtype).reshape(values.shape + (1,) * (x.ndim - 1))

    def forward(params, x):
        shift, log_scale = (beside(part, x) for part in params)
        return shift + jnp.exp(log_scale) * x, jnp.broadcast_to(jnp.sum(log_scale), x.shape[1:])

    def inverse(params, y):
        shift, log_scale = (beside(part, y) for part in params)
        return (y - shift) * jnp.exp(-log_scale), jnp.broadcast_to(-jnp.sum(log_scale), y.shape[1:])

    return Bijector(init, forward, inverse)


@pytest.mark.parametrize(
    ("make", "logpdf"), [(flows.gaussian, densities.norm.logpdf), (flows.laplace, densities.laplace.logpdf)]
)
@pytest.mark.parametrize("is_learned", [False, True])
def test_a_prior_by_level_is_the_product_of_its_densities(make, logpdf, is_learned):
    prior = make(SHAPES, scale=SCALES, is_learned=is_learned)
    params = prior.init(jax.random.key(0))
    latents, log_prob = prior.sample(jax.random.key(1), params, 7)
    exact = sum(
        np.sum(logpdf(np.asarray(latents[level]), scale=SCALES[level]), axis=tuple(range(1, latents[level].ndim)))
        for level in SHAPES
    )
    np.testing.assert_allclose(log_prob, exact, rtol=1e-5)
    np.testing.assert_allclose(prior.log_prob(params, latents), exact, rtol=1e-5)
    assert len(jax.tree.leaves(params)) == (2 if is_learned else 0)


def test_draws_of_a_prior_have_its_scale():
    prior = flows.laplace((1000,), scale=1 / np.sqrt(2))
    draws, _ = prior.sample(jax.random.key(0), (), 20)
    assert abs(float(jnp.std(draws)) - 1) < 5 * np.sqrt(5 / 4 / 20_000)  # kurtosis 6


def test_learned_scales_have_the_derivative_of_a_gaussian():
    prior = flows.gaussian((3,), is_learned=True)
    draws = jnp.array([[1.0, 2.0, 0.5]])
    (gradient,) = jax.grad(lambda params: prior.log_prob(params, draws)[0])(prior.init(jax.random.key(0)))
    np.testing.assert_allclose(gradient, [1 + 4 + 0.25 - 3], rtol=1e-6)


def test_an_affine_flow_of_gaussian_noise_is_a_gaussian():
    density = flows.density(affine_flow(2), flows.gaussian((2,)))
    shift, log_scale = jnp.array([1.0, -2.0]), jnp.array([0.3, -0.7])
    params = density.init(jax.random.key(0))._replace(flow=(shift, log_scale))
    draws, log_prob = density.sample(jax.random.key(1), params, 9)
    exact = np.sum(densities.norm.logpdf(np.asarray(draws), np.asarray(shift), np.exp(log_scale)), axis=1)
    np.testing.assert_allclose(log_prob, exact, rtol=1e-5)
    np.testing.assert_allclose(density.log_prob(params, draws), exact, rtol=1e-5)


def test_a_hierarchical_flow_takes_a_prior_of_its_latents():
    identity = Bijector(
        lambda key: (), lambda _, x: (x, jnp.zeros(x.shape[2:])), lambda _, x: (x, jnp.zeros(x.shape[2:]))
    )
    flow = flows.rg_flow((4, 4), disentangler=identity, decimator=identity)
    density = flows.density(flow, flows.gaussian(flows.geometry(flow).latent_shapes))
    fields, log_prob = density.sample(jax.random.key(0), density.init(jax.random.key(1)), 3)
    assert fields.shape == (3, 4, 4)
    np.testing.assert_allclose(log_prob, np.sum(densities.norm.logpdf(np.asarray(fields)), axis=(1, 2)), rtol=1e-5)


def test_a_level_given_the_coarser_ones_is_the_product_of_its_conditionals():
    def condition(params, level, coarser):
        if level == 1:
            return jnp.zeros((1, 1)), params[1] * jnp.ones((1, 1))
        return jnp.mean(coarser[1], axis=1, keepdims=True), params[0] * coarser[1][:, :1]

    prior = flows.conditional(flows.gaussian({0: (3,), 1: (2,)}), lambda key: jnp.array([0.3, -0.5]), condition)
    params = prior.init(jax.random.key(0))
    latents, log_prob = prior.sample(jax.random.key(1), params, 4)
    fine, coarse = np.asarray(latents[0]), np.asarray(latents[1])
    exact = np.sum(densities.norm.logpdf(coarse, scale=np.exp(-0.5)), axis=1)
    widths = np.exp(0.3 * coarse[:, :1])
    exact += np.sum(densities.norm.logpdf(fine, coarse.mean(1, keepdims=True), widths), axis=1)
    np.testing.assert_allclose(log_prob, exact, rtol=1e-5)
    np.testing.assert_allclose(prior.log_prob(params, latents), exact, rtol=1e-5)


def moved_gaussian():
    density = flows.density(affine_flow(1), flows.gaussian((1,)))
    return density, flows.FlowParams((jnp.array([1.5]), jnp.array([-0.5])), ())


def test_a_symmetrised_density_is_even_and_normalised_and_its_draws_are_its_own():
    density, params = moved_gaussian()
    both = flows.symmetrized(density)
    grid = jnp.linspace(-8, 8, 4001)[:, None]
    q = np.exp(np.asarray(both.log_prob(params, grid), np.float64))
    assert abs(q.sum() * 16 / 4000 - 1) < 1e-5
    np.testing.assert_allclose(q, q[::-1], rtol=1e-4)
    np.testing.assert_allclose(
        q, (np.exp(density.log_prob(params, grid)) + np.exp(density.log_prob(params, -grid))) / 2, rtol=1e-4
    )
    draws, log_prob = both.sample(jax.random.key(0), params, 1000)
    np.testing.assert_allclose(both.log_prob(params, draws), log_prob, rtol=1e-4, atol=1e-5)
    is_positive = np.asarray(draws) > 0
    assert abs(is_positive.mean() - 0.5) < 5 * 0.5 / np.sqrt(1000)


def test_a_group_of_translations_makes_a_density_invariant():
    density = flows.density(affine_flow(3), flows.gaussian((3,)))
    params = flows.FlowParams((jnp.array([1.0, 0.0, -1.0]), jnp.array([0.5, 0.0, -0.2])), ())
    turns = [lambda x, steps=steps: jnp.roll(x, steps) for steps in (1, 2)]
    invariant = flows.symmetrized(density, turns)
    draws, log_prob = invariant.sample(jax.random.key(0), params, 5)
    for steps in range(3):
        np.testing.assert_allclose(invariant.log_prob(params, jnp.roll(draws, steps, 1)), log_prob, rtol=1e-5)


SITES = (3, 2)
FROZEN = np.array([[True, False], [False, True], [True, False]])


def entangling_coupling() -> Bijector:
    """Every moved component is scaled and shifted by functions of all frozen ones that know no symmetry."""
    mask = jnp.asarray(FROZEN)[..., None]

    def parts(params, field):
        lanes = field.ndim - 3
        frozen = jnp.where(mask.reshape(mask.shape + (1,) * lanes), field, 0).reshape(12, *field.shape[3:])
        log_scale, shift = (jnp.tensordot(weights.astype(field.dtype), jnp.tanh(frozen), 1) for weights in params)
        free = jnp.broadcast_to(~mask, (*SITES, 2)).reshape((*SITES, 2) + (1,) * lanes)
        log_scale, shift = (jnp.where(free, part.reshape(field.shape), 0) for part in (log_scale, shift))
        return log_scale, shift

    def forward(params, field):
        log_scale, shift = parts(params, field)
        return field * jnp.exp(log_scale) + shift, jnp.sum(log_scale, (0, 1, 2))

    def inverse(params, field):
        log_scale, shift = parts(params, field)
        return (field - shift) * jnp.exp(-log_scale), -jnp.sum(log_scale, (0, 1, 2))

    return Bijector(lambda key: tuple(0.3 * jax.random.normal(key, (2, 12, 12))), forward, inverse)


def turned(field, angle):
    matrix = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]], field.dtype)
    return jnp.einsum("ij,xyj...->xyi...", matrix, field)


@pytest.mark.slow
def test_a_coupling_in_the_frame_of_the_mean_phase_commutes_with_every_phase(x64):
    bijector = flows.phase_equivariant(entangling_coupling(), FROZEN)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), bijector.init(jax.random.key(0)))
    field = jax.random.normal(jax.random.key(1), (*SITES, 2), jnp.float64)
    moved, log_det = bijector.forward(params, field)
    assert not np.allclose(moved, field, atol=0.1)
    for angle in (0.4, 2.0, -3.0):
        again, same = bijector.forward(params, turned(field, angle))
        np.testing.assert_allclose(again, turned(moved, angle), atol=1e-12)
        np.testing.assert_allclose(same, log_det, atol=1e-12)
    jacobian = jax.jacobian(lambda x: bijector.forward(params, x.reshape(field.shape))[0].ravel())(field.ravel())
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], log_det, atol=1e-11)
    back, other = bijector.inverse(params, moved)
    np.testing.assert_allclose(back, field, atol=1e-12)
    np.testing.assert_allclose(other, -log_det, atol=1e-12)


def test_a_flow_of_such_couplings_has_a_symmetric_density_side_by_side():
    flow = flows.phase_equivariant(entangling_coupling(), FROZEN)
    density = flows.density(flow, flows.gaussian((*SITES, 2)))
    params = density.init(jax.random.key(0))
    draws, log_prob = density.sample(jax.random.key(1), params, 4)
    other = jnp.moveaxis(turned(jnp.moveaxis(draws, 0, -1), 1.1), -1, 0)
    np.testing.assert_allclose(density.log_prob(params, other), log_prob, rtol=1e-5)
    still, log_det = flow.forward(params.flow, jnp.zeros((*SITES, 2)))  # no phase at all
    assert np.all(np.isfinite(still))
    assert np.isfinite(log_det)


def test_the_action_in_the_latents_is_that_of_the_weights():
    flow, prior = affine_flow(2), flows.gaussian((2,))
    density, params = flows.density(flow, prior), (jnp.array([1.0, -1.0]), jnp.array([0.2, 0.4]))
    z = jax.random.normal(jax.random.key(0), (2,))
    x, _ = flow.forward(params, z)
    log_q = density.log_prob(flows.FlowParams(params, ()), x[None])[0]
    expected = -(prior.log_prob((), z[None])[0] - jnp.sum(x**4) - log_q)
    found = flows.latent_action(flow, params, lambda field: jnp.sum(field**4))(z)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flows.gaussian("wide"), r"shapes: expected a shape such as \(8, 8\)"),
        (lambda: flows.gaussian((2,), scale=-1.0), r"scale: expected numbers above 0"),
        (
            lambda: flows.gaussian((2,), scale=jnp.ones(3)),
            r"scale: expected a shape that broadcasts to \(2,\), got \(3,\)",
        ),
        (lambda: flows.gaussian((2,)).log_prob((), jnp.ones((4, 3))), r"expected shape \(num_samples, \*\(2,\)\)"),
        (lambda: flows.density(3, flows.gaussian((2,))), r"flow: expected a Bijector"),
        (lambda: flows.density(affine_flow(2), None), r"prior: expected a Density"),
        (lambda: flows.conditional(3, jnp.sum, jnp.sum), r"prior: expected a Density"),
        (lambda: flows.symmetrized(flows.gaussian((2,)), []), r"elements: expected functions"),
        (lambda: flows.phase_equivariant(affine_flow(2), [False, False]), r"frozen: expected booleans"),
        (lambda: moved_gaussian()[0].log_prob((), jnp.ones((1, 1))), r"params: expected FlowParams"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
