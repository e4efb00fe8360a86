import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers
from jaxrg.base import Sampler, Status
from jaxrg.samplers import driver

ISING = models.Ising(lattice.hypercubic((4, 4)), 0.4)
SAMPLER = samplers.heat_bath(ISING)
KEY = jax.random.key(1)


def start():
    return SAMPLER.init(jax.random.key(0))


def test_a_run_is_state_trace_and_info():
    bare = samplers.run(KEY, SAMPLER, start(), 5)
    assert bare.trace is None
    assert bare.info.acceptance.shape == (1, 5)
    state, trace, info = samplers.run(KEY, SAMPLER, start(), 5, observe=lambda spins: {"all": spins, "one": 1.0})
    assert trace["all"].shape == (1, 5, 4, 4)
    assert trace["one"].shape == (1, 5)
    np.testing.assert_array_equal(trace["all"][0, -1], state.spins)
    np.testing.assert_array_equal(bare.state.spins, state.spins)
    np.testing.assert_array_equal(bare.info.acceptance, info.acceptance)
    changed = np.mean(np.asarray(trace["all"][0, 1:] != trace["all"][0, :-1]), axis=(1, 2))
    np.testing.assert_allclose(info.acceptance[0, 1:], changed, rtol=1e-6)


def test_chunks_with_progress_give_the_same_run_and_compile_two_sizes():
    seen = []
    whole = samplers.run(KEY, SAMPLER, start(), 121, observe=ISING.observables)
    programs = driver._compiled_scan._cache_size()
    chunked = samplers.run(
        KEY, SAMPLER, start(), 121, observe=ISING.observables, progress=lambda *report: seen.append(report)
    )
    for a, b in zip(*map(jax.tree.leaves, (whole, chunked)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert seen[0] == (2, 121, "")
    assert seen[-1] == (121, 121, "")
    assert len(seen) == 61
    assert driver._compiled_scan._cache_size() == programs + 2  # chunk and rest


def test_a_bar_shows_progress(capsys):
    samplers.run(KEY, SAMPLER, start(), 4, progress=True)
    assert "sampling" in capsys.readouterr().out


def test_a_model_s_method_observes_without_recompiling():
    traces = []

    def energy(model, spins):
        traces.append(1)
        return model.observables(spins).energy

    for coupling in (0.2, 0.3, 0.4):
        model = models.Ising(ISING.lattice, coupling)
        chain = samplers.heat_bath(model)
        samplers.run(KEY, chain, start(), 3, observe=jax.tree_util.Partial(energy, model))
    assert len(traces) == 1


@pytest.mark.parametrize("num_steps", [0, 2.5])
def test_bad_counts_are_refused(num_steps):
    with pytest.raises(ValueError, match=f"num_steps: expected an integer >= 1, got {num_steps}"):
        samplers.run(KEY, SAMPLER, start(), num_steps)


def test_what_observes_is_a_function():
    ising = models.Ising(lattice.hypercubic((4,)), 0.3)
    chain = samplers.heat_bath(ising)
    with pytest.raises(ValueError, match="observe: expected a function of one configuration, got 3"):
        samplers.run(jax.random.key(0), chain, chain.init(jax.random.key(1)), 5, observe=3)  # type: ignore


def test_a_failure_under_vmap_shows_in_trace_and_info():
    @jax.jit
    @jax.vmap
    def observed(coupling):
        model = models.Ising(ISING.lattice, coupling)
        return samplers.run(KEY, samplers.heat_bath(model), start(), 4, observe=model.observables)

    run = observed(jnp.array([0.3, jnp.nan]))
    for values in (run.trace.energy, run.info.acceptance):
        assert np.all(np.isfinite(values[0]))
        assert np.all(np.isnan(values[1]))
    assert np.all(run.info.status == np.array([0, Status.NOT_FINITE], np.uint32)[:, None, None])


def count_to(limit: int) -> Sampler:
    """A sampler whose second chain overflows at a step, and whose first never converges."""

    def step(key, state):
        status = jnp.stack([Status.NOT_CONVERGED.when(state.step > 0), Status.OVERFLOW.when(state.step >= limit)])
        return state._replace(step=state.step + 1), samplers.SpinInfo(jnp.zeros(2), status)

    return SAMPLER._replace(step=jax.tree_util.Partial(step))


def test_the_statuses_of_all_chains_and_steps_are_told_together():
    message = "run: an iteration that did not converge, a buffer that was too small at or before step 5"
    with pytest.raises(FloatingPointError, match=message):
        samplers.run(KEY, count_to(3), start(), 5)
