"""Every sampler of fields goes through the same tests."""

import io

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers, stats
from jaxrg.base import Status
from tests.contracts.field_table import FIELD_MODELS, FIELD_SAMPLERS, configuration, model_of, pairs_of, with_leaf
from tests.rows import some_now

KEY = jax.random.key(1)
PAIRS = pairs_of()
# Every program is compiled for itself: a mixture has both kinds of kernels inside.
NOW = [
    ("mixture", "phi4"),
    ("hmc", "xy"),
    ("hmc", "ising_dual"),
    ("hmc_of_an_action", "complex_phi4"),
    ("heat_bath", "xy_field"),
    ("sites_mixture", "heisenberg"),
]
OF_PHI4 = [name for name, row in FIELD_SAMPLERS.items() if row.takes != "sites"]


@jax.jit
def advance(key, chain, state, num_steps):
    """Some steps by a traced count, so that one compilation serves all of a sampler; configurations and status."""

    def one_step(_, carry):
        state, status = carry
        state, info = chain.step(key, state)
        return state, status | jnp.bitwise_or.reduce(info.status)

    state, status = jax.lax.fori_loop(0, num_steps, one_step, (state, jnp.uint32(0)))
    return state, chain.measure(configuration, state), status


@pytest.mark.parametrize(("sampler", "name"), some_now(PAIRS, *NOW))
def test_resumes_bit_for_bit_does_not_recompile_and_reports_nan(sampler, name):
    row = FIELD_SAMPLERS[sampler]
    chain = row.make(model_of(name))
    start = chain.init(jax.random.key(0))
    whole = advance(KEY, chain, start, 8)
    state, first, _ = advance(KEY, chain, start, 4)
    stored = io.BytesIO()
    np.savez(stored, *jax.tree.leaves(state))
    stored.seek(0)
    state = jax.tree.unflatten(jax.tree.structure(start), list(np.load(stored).values()))
    again = advance(KEY, chain, state, 4)
    for a, b in zip(*map(jax.tree.leaves, (whole, again)), strict=True):
        np.testing.assert_array_equal(a, b)
    final, second, status = whole
    assert int(final.step) == (16 if sampler == "thin" else 8)
    assert second.shape == (row.num_chains, *model_of(name).shape)
    assert second.dtype == jnp.float32
    assert int(status) == 0
    for earlier, later in ((chain.measure(configuration, start), first), (first, second)):
        assert not np.array_equal(earlier, later), "expected a chain that moves"
    if name in ("xy", "xy_field") and sampler != "hmc_of_an_action":
        assert np.all((second >= -np.float32(np.pi)) & (second < np.float32(np.pi)))

    programs = advance._cache_size()
    other = advance(KEY, row.make(model_of(name, 0.1)), start, 8)[1]
    # Clusters and decisions may be the same at a coupling that is nearly the same; mirrors are those of every coupling.
    if not sampler.endswith(("_embedding", "metropolis", "over_relaxation")):
        assert not np.array_equal(other, second)
    for value in (jnp.nan, jnp.inf):
        assert int(advance(KEY, row.make(with_leaf(name, value)), start, 2)[2]) == Status.NOT_FINITE
    assert advance._cache_size() == programs


@pytest.mark.parametrize(("sampler", "name"), some_now(PAIRS, ("hmc", "phi4")))
def test_chains_of_many_couplings_are_those_of_each(sampler, name):
    """By ``vmap``, in one compilation: bit for bit, but for the order in which sums are taken."""
    shifts = jnp.array([0.0, 0.1, 0.2])
    traces = []

    def energies(shift):
        traces.append(1)
        case = FIELD_MODELS[name]
        model = case.make(jnp.float32(case.coupling) + shift)
        chain = FIELD_SAMPLERS[sampler].make(model)
        return samplers.run(KEY, chain, chain.init(KEY), 3, observe=model.action).trace

    mapped = jax.jit(jax.vmap(energies))(shifts)
    assert len(traces) == 1
    alone = jax.jit(energies)
    np.testing.assert_allclose(mapped, [alone(shift) for shift in shifts], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("sampler", "name"),
    some_now(PAIRS, ("mixture", "phi4"), ("hmc", "ising_dual"), ("hmc", "xy"), ("sites_mixture", "heisenberg")),
)
def test_lowers_for_every_platform(sampler, name):
    chain = FIELD_SAMPLERS[sampler].make(model_of(name))
    state = jax.eval_shape(chain.init, jax.random.key(0))
    exported = jax.export.export(jax.jit(chain.step), platforms=["cpu", "cuda", "tpu"])(jax.random.key(1), state)
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}


@pytest.mark.parametrize("sampler", OF_PHI4)
def test_bad_starts_are_refused(sampler):
    chain = FIELD_SAMPLERS[sampler].make(model_of("phi4"))
    for bad, message in (
        (np.zeros((4, 6)), r"field: expected shape .*\(4, 4\), got \(4, 6\)"),
        (np.full((4, 4), np.nan), "field: expected finite values, got NaN"),
        ("start", "field: expected real numbers, got 'start'"),
        ({"field": np.zeros((4, 4))}, "field: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            chain.init(jax.random.key(0), bad)
    with pytest.raises(ValueError, match="key: expected a typed key"):
        chain.init(0)
    given = np.arange(16.0).reshape(4, 4)
    seen = chain.measure(configuration, chain.init(jax.random.key(0), given))
    np.testing.assert_array_equal(seen, np.broadcast_to(given, seen.shape))
    assert seen.dtype == jnp.float32


@pytest.mark.parametrize("sampler", OF_PHI4)
def test_states_of_another_lattice_are_refused(sampler):
    make = FIELD_SAMPLERS[sampler].make
    chain, other = make(model_of("phi4")), make(models.Phi4(lattice.hypercubic((4, 6)), -2.0, 2.0))
    with pytest.raises(ValueError, match=r"state: expected shape .* of this model and number of chains .*, got "):
        samplers.run(KEY, chain, other.init(KEY), 2)
    spins = samplers.heat_bath(models.Ising(lattice.hypercubic((4, 4)), 0.3))
    with pytest.raises(ValueError, match=r"state: expected FieldState .*, got SpinState"):
        samplers.run(KEY, chain, spins.init(KEY), 2)


@pytest.mark.parametrize(("sampler", "name"), PAIRS)
def test_derivatives_by_a_coupling_are_refused(sampler, name):
    def mean_square(coupling):
        chain = FIELD_SAMPLERS[sampler].make(FIELD_MODELS[name].make(coupling))
        run = samplers.run(KEY, chain, chain.init(jax.random.key(0)), 3, observe=lambda field: jnp.mean(field**2))
        return jnp.mean(run.trace)

    point = jnp.float32(0.3)
    for derivative in (jax.grad(mean_square), lambda k: jax.jvp(jax.jit(mean_square), (k,), (k,))):
        with pytest.raises(ValueError, match=r"sampler: expected a chain that is not differentiated, .* d<O>/dK = "):
            jax.eval_shape(derivative, point)


class OnlyAction:
    """Some of a model."""

    shape = (4,)

    def action(self, field):
        return jnp.sum(field)


@pytest.mark.parametrize("sampler", [name for name in OF_PHI4 if name != "hmc_of_an_action"])
def test_what_is_no_model_is_refused(sampler):
    with pytest.raises(
        ValueError, match=r"model: expected a \w+ \(shape, action, observables.* got OnlyAction without"
    ):
        FIELD_SAMPLERS[sampler].make(OnlyAction())


@pytest.mark.parametrize("sampler", [name for name in OF_PHI4 if "reflections" in FIELD_SAMPLERS[name].takes])
def test_models_without_reflections_are_refused(sampler):
    message = r"model: expected a ReflectionModel .* got IsingDual without reflection"
    with pytest.raises(ValueError, match=message):
        FIELD_SAMPLERS[sampler].make(model_of("ising_dual"))


@pytest.mark.slow
def test_runs_of_fields_are_thinned_accumulated_and_replicated():
    model = model_of("phi4")
    moments = stats.streaming_moments()
    chain = FIELD_SAMPLERS["mixture"].make(model)
    many = samplers.replicas(samplers.thin(chain, 3), 4)
    summing = samplers.accumulate(many, moments, model.observables)
    run = samplers.run(KEY, summing, summing.init(KEY), 50, observe=model.observables)
    found = moments.summary(stats.merge_chains(moments, run.state.sums))
    np.testing.assert_allclose(found.energy.mean, np.mean(run.trace.energy), rtol=1e-4)
    assert run.trace.energy.shape == (4, 50)
    assert int(run.state.step) == 150
