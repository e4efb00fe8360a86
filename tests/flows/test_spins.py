"""Inverse decimation against sums over all states: normalisation, draws, exact conditionals, symmetries."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse.csgraph

from jaxrg import exact, lattice, models, samplers, stats, training
from jaxrg.flows import patterns, spins
from jaxrg.flows.spins import exact_conditionals, top
from jaxrg.flows.spins.decimation import at_coupling
from tests.rows import some_now

SQUARE = lattice.hypercubic((4, 4))
STATES = ((np.arange(2**16)[:, None] >> np.arange(16)) & 1).astype(np.int8).reshape(-1, 4, 4) * 2 - 1
COUPLINGS = (0.4, 0.25)
ISING = models.Ising(SQUARE, jnp.array(COUPLINGS))


def shaken(density, scale=0.3):
    """Parameters that are none of the start, so that every field depends on all it knows; NumPy's compile nothing."""
    random = np.random.default_rng(1)
    like = jax.eval_shape(density.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(scale * random.normal(size=leaf.shape), leaf.dtype), like)


def small(spacing=2, conditional=None, model=ISING, **options):
    return spins.inverse_decimation(
        model, num_levels=1, spacing=spacing, conditional=conditional, radius=2.3, **options
    )


DENSITIES = {
    "network": functools.partial(small, conditional=spins.odd_network(2)),
    "network_wide_passes": functools.partial(small, 4, spins.odd_network(1, num_layers=0)),
    "operators": functools.partial(small, conditional=spins.local_operators(5)),
    "isotropic": functools.partial(small, 4, spins.local_operators(4), models.Ising(SQUARE, 0.3)),
    "polynomial": functools.partial(small, conditional=spins.local_operators(3), degree=2, interval=(0.2, 0.5)),
}


@functools.cache
def all_log_probs(name):
    density = DENSITIES[name]()
    return np.asarray(density.log_prob(shaken(density), STATES), np.float64)


ROWS = some_now(DENSITIES, "operators", "network_wide_passes")


@pytest.mark.parametrize("name", ROWS)
def test_probabilities_of_all_states_sum_to_one(name):
    assert abs(np.exp(all_log_probs(name)).sum() - 1) < 2e-5


@pytest.mark.parametrize("name", ROWS)
def test_flipped_states_are_as_likely(name):
    found = all_log_probs(name)
    np.testing.assert_allclose(found, found[::-1], atol=2e-5)
    assert np.std(found) > 1


@pytest.mark.parametrize("name", some_now(["network_wide_passes", "operators"], "operators"))
def test_draws_have_the_probabilities_that_are_stated(name):
    density = DENSITIES[name]()
    params = shaken(density)
    drawn, log_prob = density.sample(jax.random.key(2), params, 50_000)
    assert drawn.dtype == jnp.int8
    numbers = ((np.asarray(drawn).reshape(-1, 16) > 0) * 2 ** np.arange(16)).sum(axis=1)
    np.testing.assert_allclose(log_prob, all_log_probs(name)[numbers], atol=2e-5)
    # Forty bins of as many states, from the rarest ones to the commonest.
    bins = np.empty(2**16, int)
    bins[np.argsort(all_log_probs(name))] = np.arange(2**16) * 40 // 2**16
    counts = np.bincount(bins[numbers], minlength=40)
    expected = np.bincount(bins, np.exp(all_log_probs(name)), minlength=40)
    common = expected * len(numbers) > 5
    assert common.sum() > 5
    observed = np.append(counts[common], counts[~common].sum())
    shares = np.append(expected[common], max(expected[~common].sum(), 1e-12))
    assert stats.chi_squared(jnp.asarray(observed), jnp.asarray(shares / shares.sum())).p_value > 1e-5


def test_sites_with_known_surroundings_have_their_exact_conditional():
    """Sums over all states of the others: half of the sites given the rest, and an eighth with that half summed out."""
    weights = np.exp(-np.asarray(jax.vmap(ISING.hamiltonian)(STATES), np.float64))
    lanes = jnp.moveaxis(jnp.asarray(STATES, jnp.float32), 0, -1)
    rows, columns = np.indices((4, 4))
    is_even = (rows + columns) % 2 == 0

    def field_of(site, others):
        """Half the log-odds of a spin given the spins of ``others``, [2**16]."""
        key = (STATES[:, others] > 0) @ 2 ** np.arange(others.sum())
        is_up = STATES[:, site[0], site[1]] > 0
        up, down = (np.bincount(key, weights * part, minlength=2**16) for part in (is_up, ~is_up))
        return 0.5 * np.log(up[key] / down[key])

    half = exact_conditionals.half_field(jnp.array(COUPLINGS), lanes)
    for site in ((0, 1), (1, 0), (2, 3)):
        np.testing.assert_allclose(half[site], field_of(site, is_even), atol=2e-5)
    quarter = exact_conditionals.quarter_field(jnp.array(COUPLINGS), lanes)
    for site in ((1, 3), (3, 1)):
        known = is_even & ~np.isin(rows * 4 + columns, (1 * 4 + 3, 3 * 4 + 1))
        np.testing.assert_allclose(quarter[site[0] // 2, site[1] // 2], field_of(site, known), atol=2e-5)


@pytest.mark.parametrize(("spacing", "is_split"), [(2, False), (4, False), (8, False), (4, True), (8, True)])
def test_passes_draw_every_site_once_from_surroundings_that_look_the_same(spacing, is_split):
    period, parts = spacing * (1 + is_split), 1 + is_split
    passes = patterns.level_passes(spacing, 3.7, 8, 3 * parts * (spacing // 2) ** 2, is_split)
    sites = {
        (i, j) for i in range(0, period, spacing) for j in range(0, period, spacing) if (i + j) // spacing % 2 == 0
    }
    known = {(i, j) for i in range(0, period, 2) for j in range(0, period, 2)}
    for row, (i, j) in enumerate(passes.offsets.tolist()):
        steps = passes.steps[row][passes.is_known[row]]
        drawn = {((i + a) % period, (j + b) % period) for a, b in sites}
        assert len(drawn) == parts
        assert not drawn & known
        disc = [(a, b) for a in range(-3, 4) for b in range(-3, 4) if np.hypot(a, b) <= 3.7]
        for k, m in drawn:
            around = [(a, b) for a, b in disc if ((k + a) % period, (m + b) % period) in known]
            assert sorted(map(tuple, steps.tolist())) == around
        for symmetry, images in zip(patterns.SYMMETRIES, passes.images[row], strict=True):
            np.testing.assert_array_equal(steps @ symmetry.T, passes.steps[row][images][passes.is_known[row]])
        known |= drawn
    assert len(known) == period**2


@pytest.mark.parametrize("conditional", [spins.odd_network(3, num_layers=2, reach=2.3), spins.local_operators(9)])
def test_fields_are_odd_and_have_the_symmetries_of_the_square(conditional):
    passes = patterns.level_passes(4, 2.9, 8, 12)
    tables = conditional.tables(passes)
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: random.normal(size=leaf.shape).astype(np.float32),
        jax.eval_shape(lambda: conditional.init(jax.random.key(0), tables)),
    )
    known = random.choice(np.array([-1.0, 1.0], np.float32), (passes.steps.shape[1], 50))
    field_of = jax.jit(conditional.field)
    for row in (0, 5, 11):
        weights, table = jax.tree.map(lambda leaf, row=row: np.asarray(leaf)[row], (params, tables))
        seen = known * passes.is_known[row][:, None].astype(np.float32)
        field = np.asarray(field_of(weights, table, seen))
        assert np.std(field) > 0.1
        np.testing.assert_allclose(field_of(weights, table, -seen), -field, atol=1e-5)
        for images in passes.images[row]:
            np.testing.assert_allclose(field_of(weights, table, seen[images]), field, atol=2e-5)


def test_operators_of_the_shortest_reach_come_first():
    """The first pass knows the corners of its square: four spins around, and the products of three of them."""
    passes = patterns.level_passes(4, 3.2, 8, 2)
    conditional = spins.local_operators(3)
    tables = conditional.tables(passes)
    known = jax.random.rademacher(jax.random.key(1), (passes.steps.shape[1], 20), jnp.float32)
    known = known * passes.is_known[0][:, None].astype(np.float32)
    reach = (passes.steps[0] ** 2).sum(axis=1)
    corners = [known[place] for place in np.flatnonzero((reach == 2) & passes.is_known[0])]
    triples = sum(corners[i] * corners[j] * corners[k] for i, j, k in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)))
    wanted = [sum(corners), triples]
    for number, values in enumerate(wanted):
        found = conditional.field(jnp.eye(3)[number], jnp.asarray(tables)[0], known)
        np.testing.assert_allclose(found, values, atol=1e-6)


@pytest.mark.parametrize(("shape", "num_symmetries"), [((2, 2), 8), ((4, 2), 4), ((3, 3), 8)])
def test_states_of_the_top_fall_into_orbits(shape, num_symmetries):
    """Classes are what the generators of the group connect."""
    orbits, size = top.orbits_of(shape, num_symmetries), shape[0] * shape[1]
    states = ((np.arange(2**size)[:, None] >> np.arange(size)) & 1).reshape(-1, *shape)
    moves = [np.roll(states, 1, 1), np.roll(states, 1, 2), states[:, ::-1], states[:, :, ::-1], 1 - states]
    moves += [states.swapaxes(1, 2)] if num_symmetries == 8 else []
    ends = [moved.reshape(-1, size) @ 2 ** np.arange(size) for moved in moves]
    edges = np.tile(np.arange(2**size), len(ends)), np.concatenate(ends)
    graph = scipy.sparse.coo_array((np.ones(len(edges[0])), edges), (2**size, 2**size))
    count, labels = scipy.sparse.csgraph.connected_components(graph, directed=False)
    assert len(orbits.sizes) == count == len(set(zip(labels.tolist(), orbits.number.tolist(), strict=True)))
    np.testing.assert_array_equal(orbits.sizes, np.bincount(orbits.number))
    log_probs = np.asarray(top.log_probs(jax.random.normal(jax.random.key(0), (count,)), orbits))
    assert abs(np.exp(log_probs[orbits.number]).sum() - 1) < 1e-5


EIGHT = models.Ising(lattice.hypercubic((8, 8)), 0.42)


@functools.cache
def eight():
    density = spins.inverse_decimation(EIGHT, num_levels=2, conditional=spins.odd_network(1), radius=2.3)
    return density, shaken(density)


@pytest.mark.slow
def test_parts_add_up_and_refinement_keeps_the_coarse_spins():
    density, params = eight()
    drawn, log_prob = density.sample(jax.random.key(0), params, 16)
    parts = density.level_log_probs(params, drawn)
    np.testing.assert_allclose(
        parts.top + sum(level.sum(axis=1) for level in parts.levels) + parts.exact, log_prob, rtol=1e-5
    )
    np.testing.assert_allclose(density.log_prob(params, drawn), log_prob, rtol=1e-5)
    assert [level.shape for level in parts.levels] == [(16, 4), (16, 12)]
    for level in (1, 2):
        finer, logs = density.refine(jax.random.key(1), params, drawn[:, :: 2**level, :: 2**level], level)
        np.testing.assert_array_equal(finer[:, :: 2**level, :: 2**level], drawn[:, :: 2**level, :: 2**level])
        assert jnp.mean(finer != drawn) > 0.1
        np.testing.assert_allclose(density.refinement_log_prob(params, finer, level), logs, rtol=1e-5)
        coarse, above = density.sample(jax.random.key(0), params, 16, level=level)
        np.testing.assert_array_equal(coarse, drawn[:, :: 2**level, :: 2**level])
        np.testing.assert_allclose(above + density.refinement_log_prob(params, drawn, level), log_prob, rtol=1e-5)


def test_weights_are_chebyshev_polynomials_of_the_coupling():
    density = DENSITIES["polynomial"]()
    params = shaken(density)
    place = 2 * (np.mean(COUPLINGS) - 0.2) / 0.3 - 1
    for found, leaf in zip(jax.tree.leaves(at_coupling(density, params)), jax.tree.leaves(params), strict=True):
        wanted = np.polynomial.chebyshev.chebval(place, np.asarray(leaf, np.float64))
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.slow
def test_likelihood_gradient_is_that_of_the_mean_log_prob():
    """One level, as many sites as there are: the chains after their sweep are all that is learned from."""
    density = spins.inverse_decimation(EIGHT, conditional=spins.odd_network(1), radius=2.3)
    params = shaken(density)
    chains = spins.start_chains(jax.random.key(0), density, 8, num_sweeps=3)
    gradient, after, metrics = spins.maximum_likelihood(density, num_sites=4 * 8)(
        jax.random.key(1), params, chains, None
    )
    assert not np.array_equal(after.states.spins, chains.states.spins)

    def loss(params):
        return -jnp.mean(density.log_prob(params, after.states.spins[0]))

    wanted = jax.grad(loss)(params)
    for found, leaf in zip(gradient["levels"], wanted["levels"], strict=True):
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4), found, leaf)
    # The top learns from sublattices with another origin too.
    assert metrics["parts"].shape == (2,)
    np.testing.assert_allclose(metrics["loss"], metrics["parts"].sum(), rtol=1e-6)


@pytest.mark.slow
def test_a_larger_lattice_begins_with_the_weights_of_a_smaller_one():
    sizes = [spins.inverse_decimation(models.Ising(lattice.hypercubic((n, n)), 0.4), radius=2.3) for n in (16, 32)]
    small, large = (density.init(jax.random.key(number)) for number, density in enumerate(sizes))
    extended = spins.extend(sizes[1], large, small)
    assert len(extended["levels"]) == 3
    for level, origin in ((0, 0), (1, 1), (2, 1)):
        jax.tree.map(np.testing.assert_array_equal, extended["levels"][level], small["levels"][origin])
    with pytest.raises(ValueError, match="smaller: expected parameters of at most 2 levels"):
        spins.extend(sizes[0], small, large)


REFUSALS = {
    "an odd side": (models.Ising(lattice.hypercubic((9, 8)), 0.4), {}, r"model: expected even sides.*\(9, 8\)"),
    "six": (models.Ising(lattice.hypercubic((6, 6)), 0.4), {}, r"sides that are multiples of the spacing.*\(6, 6\)"),
    "twelve": (models.Ising(lattice.hypercubic((12, 12)), 0.4), {}, r"top of at most 16 sites.*\(12, 12\)"),
    "open": (models.Ising(lattice.hypercubic((8, 8), periodic=False), 0.4), {}, "model: expected a periodic square"),
    "three dimensions": (models.Ising(lattice.hypercubic((8, 8, 8)), 0.4), {}, "model: expected a periodic square"),
    "a field": (models.Ising(lattice.hypercubic((8, 8)), 0.4, 0.1), {}, "model: expected no field"),
    "another model": (3, {}, "model: expected an Ising model, got 3"),
    "too many levels": (EIGHT, {"num_levels": 3}, "num_levels: expected 1 to 2"),
    "a large top": (models.Ising(lattice.hypercubic((32, 32)), 0.4), {"num_levels": 2}, "top of at most 16 sites"),
    "an odd spacing": (EIGHT, {"spacing": 3}, "spacing: expected a power of two, got 3"),
    "no conditional": (EIGHT, {"conditional": "odd"}, "conditional: expected a Conditional"),
    "no interval": (EIGHT, {"degree": 1}, "interval: expected two couplings"),
    "an empty interval": (EIGHT, {"degree": 1, "interval": (0.5, 0.5)}, "interval: expected two couplings"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_built_is_refused(name):
    model, options, message = REFUSALS[name]
    with pytest.raises(ValueError, match=message):
        spins.inverse_decimation(model, **options)


def test_what_does_not_fit_is_refused():
    density, params = eight()
    with pytest.raises(ValueError, match="params: expected those of 2 levels"):
        density.sample(jax.random.key(0), params | {"levels": params["levels"][:1]}, 4)
    with pytest.raises(ValueError, match=r"params\['top'\]: expected shape"):
        density.sample(jax.random.key(0), params | {"top": params["top"][:, :2]}, 4)
    with pytest.raises(ValueError, match=r"configurations: expected \[num_samples, 8, 8\]"):
        density.log_prob(params, jnp.ones((8, 8), jnp.int8))
    with pytest.raises(ValueError, match=r"coarse: expected shape \(3, 4, 4\), got \(3, 8, 8\)"):
        density.refine(jax.random.key(0), params, jnp.ones((3, 8, 8), jnp.int8), 1)
    with pytest.raises(ValueError, match="level: expected at most 2"):
        density.refine(jax.random.key(0), params, jnp.ones((3, 1, 1), jnp.int8), 3)


def test_another_coupling_compiles_nothing():
    density, params = eight()
    drawn, _ = density.sample(jax.random.key(0), params, 16)
    here = density.log_prob(params, drawn)
    sizes = [fn._cache_size() for fn in (spins.decimation._sample, spins.decimation._log_prob)]
    other = spins.inverse_decimation(
        models.Ising(lattice.hypercubic((8, 8)), 0.3), num_levels=2, conditional=spins.odd_network(1), radius=2.3
    )
    assert not np.array_equal(other.sample(jax.random.key(0), params, 16)[0], drawn)
    assert not np.array_equal(other.log_prob(params, drawn), here)
    assert [fn._cache_size() for fn in (spins.decimation._sample, spins.decimation._log_prob)] == sizes


@functools.cache
def trained():
    """A sampler of the critical 8 x 8 lattice after a few hundred steps."""
    density = spins.inverse_decimation(models.Ising(lattice.hypercubic((8, 8)), exact.critical_coupling))
    run = training.fit(
        jax.random.key(0),
        spins.maximum_likelihood(density, num_sites=1024),
        optax.adam(optax.cosine_decay_schedule(2e-2, 1_000)),
        density.init(jax.random.key(1)),
        aux=spins.start_chains(jax.random.key(2), density, 256),
        num_epochs=1,
        steps_per_epoch=1_000,
    )
    return density, run.params


@pytest.mark.slow
def test_a_trained_sampler_gives_the_exact_partition_function():
    density, params = trained()
    model = models.Ising(lattice.hypercubic((8, 8)), exact.critical_coupling)
    draws = samplers.weighted_draws(jax.random.key(3), density, params, model.hamiltonian, 40_000, batch_size=10_000)
    found = stats.importance(draws.log_weights)
    with jax.enable_x64(True):
        known = float(exact.torus_log_partition(jnp.float64(np.float32(exact.critical_coupling)), (8, 8)))
    assert abs(float(found.log_partition) - known) < 5 * float(found.error)
    assert float(found.error) < 1e-3
    assert float(found.kl) < 0.02
    assert float(found.ess) > 0.95


@pytest.mark.slow
def test_several_levels_give_the_mean_of_one_with_less_error():
    density, params = trained()
    model = models.Ising(lattice.hypercubic((8, 8)), exact.critical_coupling)

    def square(configuration):
        return jnp.mean(configuration, dtype=jnp.float32) ** 2

    found = spins.multilevel_mean(jax.random.key(4), density, params, square, [4_000, 400_000])
    chain = samplers.replicas(samplers.swendsen_wang(model), 64)
    run = samplers.run(jax.random.key(5), chain, chain.init(jax.random.key(6)), 3_000, observe=square)
    known = stats.summary(run.trace[:, 50:])
    error = np.hypot(float(found.error), float(known.error))
    assert abs(float(found.mean) - float(known.mean)) < 5 * error
    assert float(found.error) < 0.6 * float(found.single_error)
    np.testing.assert_allclose(found.corrections.sum(), found.mean, rtol=1e-6)


def test_refinement_leaves_the_boltzmann_distribution_invariant():
    """Detailed balance of the acceptance with the probabilities of all states, for each pair that shares its top."""
    density = DENSITIES["operators"]()
    params = shaken(density)
    sampler = spins.refinement_metropolis(density, params, 1)
    # The start is drawn from the target, so after a step the states still are.
    energies = np.asarray(jax.vmap(ISING.hamiltonian)(STATES), np.float64)
    target = np.exp(-energies - np.log(np.exp(-energies).sum()))
    generator = np.random.default_rng(0)
    starts = generator.choice(2**16, 20_000, p=target)

    @jax.jit
    def step(keys, configurations):
        def one(key, configuration):
            state, info = sampler.step(key, sampler.init(key, configuration))
            return state.spins, info.acceptance[0]

        return jax.vmap(one)(keys, configurations)

    after, changed = step(jax.random.split(jax.random.key(0), len(starts)), jnp.asarray(STATES[starts]))
    assert jnp.mean(changed) > 0.02
    np.testing.assert_array_equal(after[:, ::2, ::2], STATES[starts][:, ::2, ::2])
    ends = ((np.asarray(after).reshape(-1, 16) > 0) * 2 ** np.arange(16)).sum(axis=1)
    for values in (energies, np.abs(STATES.mean(axis=(1, 2))), STATES[:, 0, 1] * STATES[:, 1, 1] * 1.0):
        mean = (target * values).sum()
        spread = np.sqrt((target * (values - mean) ** 2).sum() / len(ends))
        assert abs(values[ends].mean() - mean) < 5 * spread
