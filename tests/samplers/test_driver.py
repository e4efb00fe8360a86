import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers, stats
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


def programs(*functions) -> int:
    wide = [program for function in functions for program in (function.plain, function.wide)]
    return sum(program._cache_size() for program in (*wide, driver._scan))


def test_other_numbers_of_steps_and_fresh_functions_compile_nothing():
    ising = models.Ising(lattice.hypercubic((4, 10)), 0.4)  # a lattice that no other test has compiled for
    sampler = samplers.heat_bath(ising)
    begin = sampler.init(jax.random.key(0))
    whole = samplers.run(KEY, sampler, begin, 121, observe=lambda spins: ising.observables(spins))
    before = programs(driver._chunk)
    seen = []
    chunked = samplers.run(
        KEY, sampler, begin, 121, observe=ising.observables, progress=lambda *report: seen.append(report)
    )
    assert programs(driver._chunk) == before + 1  # another function
    long = samplers.run(KEY, sampler, begin, 2 * driver.CHUNK_STEPS + 1, observe=ising.observables)
    model = models.Ising(ising.lattice, 0.1)
    other = samplers.run(KEY, samplers.heat_bath(model), begin, 7, observe=model.observables)

    def scaled(factor):
        return samplers.run(KEY, sampler, begin, 5, observe=lambda spins: factor * models.magnetization(spins)).trace

    for scale in (1.0, 2.0):
        magnetization = whole.trace.magnetization[:, :5]
        np.testing.assert_allclose(scaled(jnp.float32(scale)), scale * magnetization, rtol=1e-6)
    assert programs(driver._chunk) == before + 2  # and one for the lambda with a factor
    for a, b in zip(*map(jax.tree.leaves, (whole, chunked)), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(*map(jax.tree.leaves, (whole[1:], long[1:])), strict=True):
        np.testing.assert_array_equal(a, b[:, :121])
    assert long.trace.energy.shape == (1, 2 * driver.CHUNK_STEPS + 1)
    assert not np.array_equal(other.trace.energy, whole.trace.energy[:, :7])
    assert seen[0] == (2, 121, "")
    assert seen[-1] == (121, 121, "")
    assert len(seen) == 61


def test_what_is_large_is_observed_in_short_chunks():
    large = samplers.run(KEY, SAMPLER, start(), 5, observe=lambda spins: jnp.full((300, 1000), spins[0, 0]))
    np.testing.assert_array_equal(large.trace[:, :, 7, 3], large.trace[:, :, 0, 0])
    spins = samplers.run(KEY, SAMPLER, start(), 5, observe=lambda spins: spins).trace
    np.testing.assert_array_equal(large.trace[:, :, 0, 0], spins[:, :, 0, 0])


def test_an_eager_vmap_compiles_once_and_equals_a_jitted_one():
    def energies(coupling):
        model = models.Ising(ISING.lattice, coupling)
        return samplers.run(KEY, samplers.heat_bath(model), start(), 6, observe=model.observables).trace.energy

    couplings = jnp.array([0.1, 0.4])
    first = jax.vmap(energies)(couplings)
    before = programs(driver._chunk)
    jax.vmap(energies)(couplings + 0.1)
    assert programs(driver._chunk) == before
    np.testing.assert_array_equal(first, jax.jit(jax.vmap(energies))(couplings))
    np.testing.assert_array_equal(first, jnp.stack([energies(coupling) for coupling in couplings]))


class Observer:
    """Of no type that JAX knows."""

    def __init__(self, scale):
        self.scale = scale

    def see(self, spins):
        return self.scale * spins.mean(dtype=jnp.float32)


def test_a_method_of_any_object_observes():
    mean = samplers.run(KEY, SAMPLER, start(), 6, observe=models.magnetization).trace
    observer = Observer(2.0)
    np.testing.assert_allclose(samplers.run(KEY, SAMPLER, start(), 6, observe=observer.see).trace, 2 * mean, rtol=1e-6)
    observer.scale = 3.0
    np.testing.assert_allclose(samplers.run(KEY, SAMPLER, start(), 6, observe=observer.see).trace, 3 * mean, rtol=1e-6)
    held = jax.vmap(lambda scale: samplers.run(KEY, SAMPLER, start(), 6, observe=Observer(scale).see).trace)
    np.testing.assert_allclose(held(jnp.array([1.0, 4.0])), jnp.stack([mean, 4 * mean]), rtol=1e-6)


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


PACKED = samplers.multispin_heat_bath(ISING, num_chains=64)
REFUSED = [
    ({"num_steps": 0}, "num_steps: expected an integer >= 1, got 0"),
    ({"num_steps": 2.5}, "num_steps: expected an integer >= 1, got 2.5"),
    ({"num_steps": True}, "num_steps: expected an integer >= 1, got True"),
    ({"key": 0}, r"key: expected a typed key such as jax.random.key\(0\), got 0"),
    ({"key": jax.random.PRNGKey(0)}, r"key: expected a typed key .*, got an array of shape \(2,\)"),
    ({"sampler": ISING}, "sampler: expected a Sampler, .*got a Ising"),
    ({"observe": 3}, "observe: expected a function of one configuration, got 3"),
    ({"observe": lambda spins: "up"}, "observe: expected a function to arrays or numbers, got 'up' from it"),
    ({"progress": "yes"}, "progress: expected True or a function of .*got 'yes'"),
    ({"state": jnp.ones((4, 4), jnp.int8)}, "state: expected SpinState .*; make it with the init of this sampler"),
    ({"state": PACKED.init(KEY)}, "state: expected SpinState of 2 arrays, got PackedState of 3 arrays"),
    ({"state": start()._replace(step=jnp.int32(0))}, r"state: expected .* dtype uint32 .* for .step, got .* int32"),
    ({"state": start()._replace(spins=np.ones((4, 4)))}, r"state: expected .* dtype int8 .* for .spins, got .* float"),
    (
        {"sampler": samplers.multispin_heat_bath(ISING, num_chains=32), "state": PACKED.init(KEY)},
        r"state: expected shape \(1, 4, 2\) .* of this model and number of chains for .even, got \(2, 4, 2\)",
    ),
]


@pytest.mark.parametrize(("wrong", "message"), REFUSED)
def test_what_cannot_be_run_is_refused(wrong, message):
    arguments = {"key": KEY, "sampler": SAMPLER, "state": start(), "num_steps": 3} | wrong
    with pytest.raises(ValueError, match=message):
        samplers.run(**arguments)


def test_parameters_of_what_is_observed_are_differentiated():
    spins = samplers.run(KEY, SAMPLER, start(), 6, observe=lambda spins: spins).trace
    mean = np.asarray(spins, float).mean((2, 3))
    assert np.std(mean) > 0.05

    def mean_sine(rate):
        observed = samplers.run(KEY, SAMPLER, start(), 6, observe=lambda s: jnp.sin(rate * models.magnetization(s)))
        return jnp.mean(observed.trace)

    expected = (mean * np.cos(0.7 * mean)).mean()
    for derivative in (jax.grad(mean_sine), jax.jit(jax.grad(mean_sine)), jax.jacfwd(mean_sine)):
        np.testing.assert_allclose(derivative(0.7), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(jax.grad(mean_sine))(jnp.array([0.7, 0.0])), [expected, mean.mean()], rtol=1e-5)


def test_a_model_of_the_sampler_is_left_out_of_a_derivative_in_words():
    def energy(model):
        chain = samplers.heat_bath(jax.lax.stop_gradient(model))
        return jnp.mean(samplers.run(KEY, chain, start(), 6, observe=model.hamiltonian).trace)

    per_site = np.mean(samplers.run(KEY, SAMPLER, start(), 6, observe=ISING.observables).trace.energy)  # dH/dK / N
    np.testing.assert_allclose(jax.grad(energy)(ISING).coupling, 16 * per_site, rtol=1e-5)  # the explicit part alone


def test_tangents_of_a_state_with_floats_are_refused():
    def step(key, state):
        return state._replace(spins=state.spins * 0.9, step=state.step + 1), samplers.SpinInfo(
            jnp.zeros(1), jnp.zeros(1, jnp.uint32)
        )

    def init(key, spins=None):
        return samplers.SpinState(jnp.ones((4, 4)), jnp.uint32(0))

    chain = Sampler(jax.tree_util.Partial(init), jax.tree_util.Partial(step), SAMPLER.measure)

    def last(scale):
        state = init(KEY)._replace(spins=jnp.full((4, 4), scale))
        return jnp.sum(samplers.run(KEY, chain, state, 2).state.spins)

    np.testing.assert_allclose(last(2.0), 32 * 0.81, rtol=1e-6)
    with pytest.raises(ValueError, match="sampler: expected a chain that is not differentiated"):
        jax.grad(last)(2.0)


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


def test_an_observer_of_other_parameters_is_refused_in_words():
    ising = models.Ising(lattice.hypercubic((4, 4)), 0.3)
    sampler = samplers.heat_bath(ising)
    state = sampler.init(jax.random.key(0))
    with pytest.raises(ValueError, match="observe: expected a function of one configuration, got one of other"):
        samplers.run(jax.random.key(1), sampler, state, 3, observe=lambda spins, key: spins)


def test_a_warm_up_ends_where_a_run_does_and_compiles_once():
    ising = models.Ising(lattice.hypercubic((4, 6)), 0.4)
    sampler = samplers.heat_bath(ising)
    begin = sampler.init(jax.random.key(0))
    seen = []
    before = programs(driver._silently)
    told = samplers.warm_up(KEY, sampler, begin, 121, progress=lambda *report: seen.append(report))
    at_once = samplers.warm_up(KEY, sampler, begin, 121)
    other = models.Ising(ising.lattice, 0.1)
    samplers.warm_up(KEY, samplers.heat_bath(other), begin, 7)
    assert programs(driver._silently) == before + 1
    assert (0, 121, "") <= seen[0] < seen[-1] == (121, 121, "")
    for a, b, c in zip(
        *map(jax.tree.leaves, (samplers.run(KEY, sampler, begin, 121).state, told, at_once)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    mapped = jax.vmap(lambda key: samplers.warm_up(key, sampler, begin, 9).spins)(jax.random.split(KEY, 2))
    alone = [samplers.warm_up(key, sampler, begin, 9).spins for key in jax.random.split(KEY, 2)]
    np.testing.assert_array_equal(mapped, np.stack(alone))


def test_a_warm_up_fails_as_a_run_does():
    with pytest.raises(FloatingPointError, match=r"warm_up: .* at or before step 5"):
        samplers.warm_up(KEY, count_to(3), start(), 5)
    with pytest.raises(ValueError, match="num_steps: expected an integer >= 1, got 0"):
        samplers.warm_up(KEY, SAMPLER, start(), 0)
    with pytest.raises(ValueError, match="progress: expected True or a function"):
        samplers.warm_up(KEY, SAMPLER, start(), 3, progress=3)
    hmc = samplers.hmc(models.Phi4(lattice.hypercubic((4, 4)), 0.3, 0.5), 0.1, 3)
    begin = hmc.init(jax.random.key(0))
    begin = begin._replace(field=begin.field.at[0, 0].set(jnp.inf))
    found = jax.jit(lambda key: samplers.warm_up(key, hmc, begin, 2).field)(KEY)
    assert np.all(np.isnan(found))


class Scaled:
    """An observable that holds a number out of JAX's sight."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, spins):
        return self.scale * ISING.observables(spins).energy


def test_sums_of_a_warm_up_have_the_gradients_of_a_run():
    begin = samplers.accumulate(SAMPLER, stats.streaming_moments(), Scaled(1.0)).init(KEY)

    def total(through, observe):
        sums = through(KEY, samplers.accumulate(SAMPLER, stats.streaming_moments(), observe), begin, 5).sums
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(sums) if jnp.issubdtype(leaf.dtype, jnp.floating))

    def ran(*given):
        return samplers.run(*given).state

    def energy_times(scale):
        return lambda spins: scale * ISING.observables(spins).energy

    def gradient(through):
        return float(jax.grad(lambda scale: total(through, energy_times(scale)))(2.0))

    assert gradient(samplers.warm_up) == pytest.approx(gradient(ran), rel=1e-6)
    assert gradient(ran) != 0
    hidden = [jax.jit(lambda scale, by=by: total(by, Scaled(scale)))(2.0) for by in (samplers.warm_up, ran)]
    np.testing.assert_allclose(*hidden, rtol=1e-6)
