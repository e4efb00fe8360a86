"""Every sampler of the table goes through the same tests."""

import functools
import io

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers, stats
from jaxrg.base import Status
from tests.contracts.sampler_table import FREE, LARGER, MODELS, SAMPLERS, pairs_of
from tests.rows import some_now
from tests.samplers import transition_matrices

SQUARE = lattice.hypercubic((4, 4))
KEY = jax.random.key(1)


def configuration(spins):
    return spins


@functools.cache
def matrix_of(sampler: str, name: str) -> np.ndarray:
    return SAMPLERS[sampler].matrix((MODELS | LARGER)[name].model)


def assert_invariant(sampler: str, name: str):
    matrix, distribution = matrix_of(sampler, name), transition_matrices.boltzmann((MODELS | LARGER)[name].model)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=2e-6)
    assert matrix.min() >= -1e-7
    np.testing.assert_allclose(distribution @ matrix, distribution, atol=1e-6)
    flow = distribution[:, None] * matrix
    assert np.allclose(flow, flow.T, atol=1e-6) == SAMPLERS[sampler].is_reversible


@pytest.mark.parametrize(("sampler", "model"), pairs_of(MODELS))
def test_leaves_the_boltzmann_distribution_invariant(sampler, model):
    assert_invariant(sampler, model)


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "model"), pairs_of(LARGER))
def test_leaves_the_boltzmann_distribution_invariant_on_3x3(sampler, model):
    assert_invariant(sampler, model)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_is_irreducible_as_its_docstring_says(sampler):
    matrix = SAMPLERS[sampler].matrix(FREE.model)  # no coupling: an ordered Metropolis sweep flips every spin
    lazy = (np.eye(len(matrix)) + matrix) / 2
    assert (np.linalg.matrix_power(lazy, 8).min() > 1e-4) == SAMPLERS[sampler].is_irreducible


ONE_STEP = [
    *((sampler, "ising_3x2_open_field") for sampler in SAMPLERS),
    ("heat_bath", "skeleton"),
    ("metropolis", "dense"),
    ("swendsen_wang", "triangles"),
    *((sampler, "potts_field") for sampler, row in SAMPLERS.items() if row.takes in ("models", "pairs")),
    ("metropolis", "clock_triangle"),
]


@pytest.mark.parametrize(
    ("sampler", "name"), some_now(ONE_STEP, ONE_STEP[0], ONE_STEP[4], ("heat_bath", "potts_field"))
)
def test_one_step_has_the_probabilities_of_its_matrix(sampler, name):
    row, model = SAMPLERS[sampler], MODELS[name].model
    chain = row.make(model)
    size = len(transition_matrices.digits(model))
    start = 0b01101 % size
    spins = transition_matrices.configurations(model)[start]
    state = chain.init(jax.random.key(0), spins)
    keys = jax.random.split(KEY, 40_000 // row.num_chains)
    after = jax.jit(jax.vmap(lambda key: chain.measure(configuration, chain.step(key, state)[0])))(keys)
    index = transition_matrices.index_of(model, after)
    counts = np.bincount(index, minlength=size)
    expected = matrix_of(sampler, name)[start] * len(index)
    assert counts[expected < 1e-9 * len(index)].sum() == 0
    common = expected >= 10
    observed, wanted = np.append(counts[common], counts[~common].sum()), np.append(expected[common], 0)
    wanted[-1] = expected[~common].sum()
    if wanted[-1] < 1:
        observed, wanted = observed[:-1], wanted[:-1]
    assert len(observed) > 2
    assert stats.chi_squared(jnp.asarray(observed), jnp.asarray(wanted / wanted.sum())).p_value > 1e-6


def sneak(attribute: str, value: float) -> models.Ising:
    """A model with a value that its constructor would refuse."""
    model = models.Ising(SQUARE, 0.05)
    object.__setattr__(model, attribute, jnp.float32(value))
    return model


@jax.jit
def advance(key, chain, state, num_steps):
    """Some steps by a traced count, so that one compilation serves all of a sampler; configurations and last info."""
    state, info = chain.step(key, state)
    state, info = jax.lax.fori_loop(1, num_steps, lambda _, carry: chain.step(key, carry[0]), (state, info))
    return state, chain.measure(configuration, state), info


# The packed samplers differ in their thresholds alone.
TWINS = {"multispin_metropolis", "multispin_light"}


@pytest.mark.parametrize("sampler", some_now(SAMPLERS, *sorted(set(SAMPLERS) - TWINS)))
def test_resumes_bit_for_bit_does_not_recompile_and_reports_nan(sampler):
    """In one test, since all of this is one compiled program."""
    row = SAMPLERS[sampler]
    chain = row.make(models.Ising(SQUARE, 0.05))
    start = chain.init(jax.random.key(0))
    whole = advance(KEY, chain, start, 6)
    state, first, _ = advance(KEY, chain, start, 3)
    stored = io.BytesIO()  # as one goes on tomorrow: see `samplers.run`
    np.savez(stored, *jax.tree.leaves(state))
    stored.seek(0)
    state = jax.tree.unflatten(jax.tree.structure(start), list(np.load(stored).values()))
    again = advance(KEY, chain, state, 3)
    for a, b in zip(*map(jax.tree.leaves, (whole, again)), strict=True):
        np.testing.assert_array_equal(a, b)
    final, second, info = whole
    assert int(final.step) == 6
    assert second.shape == (row.num_chains, 4, 4)
    assert all(leaf.shape in ((1,), (row.num_chains,)) for leaf in jax.tree.leaves(info))
    assert not np.any(info.status)
    before = chain.measure(configuration, start)
    for earlier, later in ((before, first), (first, second)):
        assert not np.array_equal(earlier, later), "expected a chain that moves"
    # The second half has random numbers of its own: from the same state it ends elsewhere than the first.
    assert not np.array_equal(advance(KEY, chain, state._replace(step=start.step), 3)[1], second)

    advance(KEY, row.make(models.Ising(SQUARE, 0.05, 0.1)), start, 1)  # with a field it may be another program
    programs = advance._cache_size()
    assert not np.array_equal(advance(KEY, row.make(models.Ising(SQUARE, -0.3)), start, 6)[1], second)
    for attribute, value in (("coupling", jnp.nan), ("coupling", jnp.inf), ("field", jnp.nan), ("field", jnp.inf)):
        _, _, info = advance(KEY, row.make(sneak(attribute, value)), start, 1)
        assert set(info.status.tolist()) == {Status.NOT_FINITE}
    assert advance._cache_size() == programs


def exact_energies(couplings, shape):
    """Energy per site of the Ising torus at every coupling, by enumeration."""
    model = models.Ising(lattice.hypercubic(shape), 1.0)
    energies = transition_matrices.on_every_state(lambda m, s: m.observables(s).energy, model)[:, 0]
    log_weights = -np.asarray(couplings, float)[:, None] * energies[None, :] * np.prod(shape)
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    return (weights * energies).sum(axis=1) / weights.sum(axis=1)


ERGODIC = [name for name, row in SAMPLERS.items() if row.is_irreducible and name != "mixture"]  # no update of its own


summaries = jax.jit(jax.vmap(stats.summary))


@pytest.mark.parametrize("sampler", some_now(ERGODIC, "heat_bath"))
def test_fifty_temperatures_by_vmap_in_one_compile(sampler):
    """Energies from infinite temperature to order, with pulls of unit variance against enumeration."""
    shape, couplings = (2, 2), jnp.linspace(0.02, 0.5, 50)
    traces = []

    @jax.jit
    @jax.vmap
    def energies(key, coupling):
        traces.append(1)
        ising = models.Ising(lattice.hypercubic(shape), coupling)
        chain = SAMPLERS[sampler].make(ising)
        return samplers.run(key, chain, chain.init(key), 800, observe=ising.observables).trace.energy[:, 20:]

    trace = energies(jax.random.split(jax.random.key(2), 50), couplings)
    assert len(traces) == 1
    found = summaries(trace)
    scores = (np.asarray(found.mean) - exact_energies(couplings, shape)) / np.asarray(found.error)
    assert np.all(np.abs(scores) < 5)
    assert 0.5 < np.mean(np.square(scores)) < 2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_lowers_for_every_platform(sampler):
    chain = SAMPLERS[sampler].make(models.Ising(SQUARE, 0.4))
    state = jax.eval_shape(chain.init, jax.random.key(0))
    exported = jax.export.export(jax.jit(chain.step), platforms=["cpu", "cuda", "tpu"])(jax.random.key(1), state)
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_bad_starts_are_refused(sampler):
    chain = SAMPLERS[sampler].make(models.Ising(SQUARE, 0.4))
    with pytest.raises(ValueError, match="spins"):
        chain.init(jax.random.key(0), jnp.ones((4, 6), jnp.int8))
    with pytest.raises(ValueError, match=r"spins.*got 0"):
        chain.init(jax.random.key(0), jnp.ones((4, 4), jnp.int8).at[1, 2].set(0))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_states_of_another_lattice_are_refused(sampler):
    chain, other = (SAMPLERS[sampler].make(models.Ising(grid, 0.4)) for grid in (SQUARE, lattice.hypercubic((4, 6))))
    with pytest.raises(ValueError, match=r"state: expected shape .* of this model and number of chains .*, got "):
        samplers.run(KEY, chain, other.init(KEY), 2)


def mean_square(make, coupling):
    """What a chain of this coupling would be differentiated for, and its acceptance."""
    model = models.Ising(SQUARE, coupling)
    chain = make(model)
    run = samplers.run(KEY, chain, chain.init(jax.random.key(0)), 3, observe=models.magnetization)
    return jnp.mean(run.trace**2) + jnp.mean(getattr(run.info, "acceptance", jnp.zeros(1)))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_derivatives_by_a_coupling_are_refused(sampler):
    fn = functools.partial(mean_square, SAMPLERS[sampler].make)
    point = jnp.float32(0.4)
    derivatives = [
        (jax.grad(fn), point),
        (lambda coupling: jax.jvp(jax.jit(fn), (coupling,), (coupling,)), point),
        (jax.vmap(jax.grad(jax.jit(fn))), point[None]),
    ]
    for derivative, where in derivatives:
        with pytest.raises(ValueError, match=r"sampler: expected a chain that is not differentiated, .* d<O>/dK = "):
            jax.eval_shape(derivative, where)


class OnlyField:
    """Some of a model."""

    shape = (4,)

    def local_field(self, spins):
        return spins


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_is_no_model_is_refused(sampler):
    members = "shape, colours, num_colours, hamiltonian, local_field, observables"
    expected = "PairModel" if SAMPLERS[sampler].takes == "pairs" and sampler != "mixture" else "Model"
    with pytest.raises(ValueError, match=rf"model: expected a {expected} \({members}.* got OnlyField without colours"):
        SAMPLERS[sampler].make(OnlyField())


REFUSALS = {
    "pairs": (MODELS["skeleton"].model, "expected a PairModel .* got TripletRing without bond_couplings, bond_ends"),
    "checkerboards": (
        models.Ising(lattice.hypercubic((3, 4)), 0.4),
        "expected even periodic sides, got 3 along axis 0; a ring of odd length",
    ),
}


@pytest.mark.parametrize("sampler", [name for name, row in SAMPLERS.items() if row.takes in REFUSALS])
def test_models_of_another_family_are_refused(sampler):
    model, message = REFUSALS[SAMPLERS[sampler].takes]
    with pytest.raises(ValueError, match=message):
        SAMPLERS[sampler].make(model)
