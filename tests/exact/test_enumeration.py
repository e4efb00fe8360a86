import dataclasses
import functools
import itertools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, tables

pytestmark = pytest.mark.usefixtures("x64")


def glass() -> models.Glass:
    """Every symmetry broken: random bonds and fields on an asymmetric lattice."""
    geometry = lattice.hypercubic((2, 5), periodic=(False, True))
    generator = np.random.default_rng(3)
    return models.Glass(geometry, generator.normal(size=(2, 2, 5)), 0.7, generator.normal(size=(2, 5)))


def energies_by_hand(model: models.Glass) -> np.ndarray:
    """H of every state in index order, edge by edge in numpy."""
    states = np.array([state[::-1] for state in itertools.product([-1, 1], repeat=10)])
    kept = np.stack([lattice.inside(model.lattice, bond) for bond in model.lattice.bonds])
    strengths = np.asarray(model.bond_couplings())[kept]
    left, right = model.lattice.edges().T
    return -(states[:, left] * states[:, right]) @ strengths - states @ np.asarray(model.field).ravel()


def test_sums_over_states_agree_with_numpy():
    model = glass()
    energies = energies_by_hand(model)
    weights = np.exp(-energies)
    np.testing.assert_allclose(exact.energies(model.hamiltonian, model.shape), energies, atol=1e-13)
    np.testing.assert_allclose(exact.distribution(model.hamiltonian, model.shape), weights / weights.sum(), rtol=1e-13)
    for chunk_size in (8, 2**14):
        log_partition = exact.log_partition(model.hamiltonian, model.shape, chunk_size=chunk_size)
        np.testing.assert_allclose(log_partition, np.log(weights.sum()), rtol=1e-14)

    def observables(spins):
        return {"spins": spins, "pair": (spins[0, 0] * spins[1, 2], 1j * spins.astype(complex))}

    means = exact.expectation(model.hamiltonian, observables, model.shape, chunk_size=32)
    states = np.asarray(tables.all_spins(10, jnp.float64)).reshape(-1, 2, 5)
    probabilities = weights / weights.sum()
    spins = np.einsum("s,sij->ij", probabilities, states)
    np.testing.assert_allclose(means["spins"], spins, atol=1e-13)
    np.testing.assert_allclose(means["pair"][0], probabilities @ (states[:, 0, 0] * states[:, 1, 2]), atol=1e-13)
    np.testing.assert_allclose(means["pair"][1], 1j * spins, atol=1e-13)


def test_derivatives_of_log_partition_are_moments():
    model = glass()

    without_field = models.Glass(model.lattice, model.bonds)

    def log_partition(coupling, field):
        changed = models.Glass(model.lattice, model.bonds, coupling, field)
        return exact.log_partition(changed.hamiltonian, model.shape, chunk_size=128)

    def moments(spins):
        term = -without_field.hamiltonian(spins)
        return term, term**2, spins

    first, second, magnetization = exact.expectation(model.hamiltonian, moments, model.shape)
    by_coupling, by_field = jax.jit(jax.grad(log_partition, (0, 1)))(0.7, model.field)
    np.testing.assert_allclose(by_coupling, first, rtol=1e-13)
    np.testing.assert_allclose(by_field, magnetization, atol=1e-13)
    curvature = jax.jit(jax.grad(jax.grad(log_partition)))(0.7, model.field)
    np.testing.assert_allclose(curvature, second - first**2, rtol=1e-12)
    values = jax.jit(jax.vmap(log_partition, (0, None)))(jnp.array([0.2, 0.7]), model.field)
    np.testing.assert_allclose(values[1], exact.log_partition(model.hamiltonian, model.shape), rtol=1e-14)


def test_new_couplings_do_not_recompile():
    traces = []

    @functools.partial(jax.tree_util.register_dataclass, data_fields=["coupling"], meta_fields=[])
    @dataclasses.dataclass(frozen=True)
    class Pair:
        coupling: jax.Array

        def hamiltonian(self, spins):
            traces.append(spins)
            return -self.coupling * (spins[0] * spins[1]).astype(self.coupling.dtype)

    exact.log_partition(Pair(jnp.asarray(0.5)).hamiltonian, (2,))
    first = len(traces)
    result = exact.log_partition(Pair(jnp.asarray(0.9)).hamiltonian, (2,))
    assert len(traces) == first
    np.testing.assert_allclose(result, np.log(4 * np.cosh(0.9)), rtol=1e-14)


def test_methods_of_any_object_are_hamiltonians():
    class Plain:  # no pytree
        coupling = 0.9

        def hamiltonian(self, spins):
            return -self.coupling * (spins[0] * spins[1]).astype(float)

    np.testing.assert_allclose(exact.log_partition(Plain().hamiltonian, (2,)), np.log(4 * np.cosh(0.9)), rtol=1e-14)


def test_extreme_energies_neither_overflow_nor_leave_nan():
    def shifted(spins):
        return jnp.float32(2000.0) - 500.0 * spins.astype(jnp.float32)[0]

    with jax.enable_x64(False):
        np.testing.assert_allclose(exact.log_partition(shifted, (3,), chunk_size=2), -1500 + np.log(4), rtol=1e-6)
        np.testing.assert_allclose(exact.expectation(shifted, lambda s: s[0], (3,), chunk_size=1), 1.0, rtol=1e-6)

    def excluded(strength, spins):  # hard core: the first chunks hold forbidden states only
        return jnp.where(spins[-1] * spins[0] > 0, jnp.inf, -strength * spins[1].astype(float))

    value, slope = jax.value_and_grad(
        lambda strength: exact.log_partition(lambda s: excluded(strength, s), (3,), chunk_size=1)
    )(0.3)
    np.testing.assert_allclose(value, np.log(4 * np.cosh(0.3)), rtol=1e-14)
    np.testing.assert_allclose(slope, np.tanh(0.3), rtol=1e-14)
    assert exact.log_partition(lambda s: jnp.inf, (2,)) == -jnp.inf
    assert jnp.isnan(exact.log_partition(lambda s: jnp.where(s[0] > 0, jnp.nan, 0.0), (2,)))


def test_critical_4x4_torus_has_its_exact_moments():
    model = models.Ising(lattice.hypercubic((4, 4)), exact.critical_coupling)

    def observables(spins):
        m = jnp.mean(spins.astype(jnp.float64))
        change = 2 * spins.astype(jnp.float64) * model.local_field(spins)
        return m**2, jnp.abs(m), m**4, jnp.exp(-change)

    square, absolute, fourth, flips = exact.expectation(model.hamiltonian, observables, (4, 4))
    np.testing.assert_allclose(square, 0.7613589086, atol=6e-11)
    np.testing.assert_allclose(absolute, 0.8438604448, atol=6e-11)
    np.testing.assert_allclose(1 - fourth / (3 * square**2), 0.6171993184, atol=6e-11)
    np.testing.assert_allclose(flips, np.ones((4, 4)), rtol=1e-13)  # <exp(-ΔE_i)> = 1, any site of any model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact.log_partition(lambda s: 0.0, (4, 8)), "shape: expected at most 30, .* got 32"),
        (lambda: exact.expectation(lambda s: 0.0, lambda s: s, (31,)), "shape: expected at most 30, .* got 31"),
        (
            lambda: exact.log_partition(lambda s: 0.0, (4,), chunk_size=12),
            "chunk_size: expected a power of two, got 12",
        ),
        (lambda: exact.log_partition(lambda s: s, (4,)), "hamiltonian: expected a scalar"),
        (lambda: exact.expectation(lambda s: 0.0, lambda s: s, (0, 3)), "shape: expected an integer >= 1, got 0"),
        (lambda: exact.energies(lambda s: 0.0, (5, 6)), "expected at most 28 .* got 30, which needs 8,589,934,592"),
        (lambda: exact.distribution(lambda s: 0.0, (27,)), "expected at most 26 for tables .* got 27"),
    ],
)
def test_what_cannot_be_enumerated_is_refused_with_figures(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# The peak since exec: ru_maxrss would count the memory of the process that forked it.
LARGE = """
import pathlib, re, time, jax
from jaxrg import exact, lattice, models
jax.config.update("jax_enable_x64", True)
square = lattice.hypercubic((4, 6))
log_partition = lambda K: exact.log_partition(models.Ising(square, K).hamiltonian, square.shape)
start = time.perf_counter()
value, slope = jax.value_and_grad(log_partition)(0.44)
peak = re.search(r"VmHWM:\\s*(\\d+) kB", pathlib.Path("/proc/self/status").read_text()).group(1)
print(float(value), float(slope), time.perf_counter() - start, peak)
"""


@pytest.mark.slow
def test_24_spins_take_under_a_minute_and_a_gigabyte():
    root = pathlib.Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, env=environment, check=True)
    value, slope, seconds, kilobytes = map(float, done.stdout.split())
    expected, expected_slope = jax.value_and_grad(exact.torus_log_partition)(0.44, (4, 6))
    np.testing.assert_allclose([value, slope], [expected, expected_slope], rtol=1e-12)
    assert seconds < 60
    assert kilobytes < 1e6


def test_forbidden_states_count_for_nothing_and_nan_stays_nan():
    def hard(spins):
        return jnp.where(jnp.all(spins == 1), jnp.inf, 0.5 * jnp.float32(spins[0]))

    def observe(spins):
        return jnp.where(jnp.all(spins == 1), jnp.nan, jnp.float32(spins[1]))

    states = np.array([[1 if index >> site & 1 else -1 for site in range(3)] for index in range(8)])
    weights = np.exp(-0.5 * states[:, 0]) * (states.sum(1) < 3)
    np.testing.assert_allclose(exact.log_partition(hard, (3,)), np.log(weights.sum()), rtol=1e-6)
    np.testing.assert_allclose(exact.distribution(hard, (3,)), weights / weights.sum(), rtol=1e-6)
    mean = (weights * np.where(weights > 0, states[:, 1], 0)).sum() / weights.sum()
    for chunk_size in (2, 8):
        np.testing.assert_allclose(exact.expectation(hard, observe, (3,), chunk_size=chunk_size), mean, rtol=1e-6)

    def broken(spins):
        return jnp.where(jnp.all(spins == 1), jnp.nan, 0.5 * jnp.float32(spins[0]))

    assert jnp.isnan(exact.log_partition(broken, (3,), chunk_size=2))
    assert jnp.isnan(exact.expectation(broken, lambda spins: spins[0], (3,), chunk_size=2))
    assert jnp.all(jnp.isnan(exact.distribution(broken, (3,))))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.int8])
def test_energies_of_low_precision_are_summed_in_single(dtype):
    found = exact.log_partition(lambda spins: jnp.sum(spins).astype(dtype), (9,))
    assert found.dtype == (jnp.result_type(float) if dtype == jnp.int8 else jnp.float32)
    np.testing.assert_allclose(found, 9 * np.log(2 * np.cosh(1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact.log_partition(3, (2,)), "hamiltonian: expected a function of one configuration, got 3"),
        (lambda: exact.expectation(lambda s: 0.0, 3, (2,)), "observe: expected a function of one configuration, got 3"),
        (lambda: exact.energies(lambda s: 0.0, 4), r"shape: expected a sequence of sides such as \(16,\) .* got 4"),
        (lambda: exact.energies(lambda s: 1j, (2,)), "hamiltonian: expected a real energy, got complex"),
        (lambda: exact.log_partition(lambda s: 0.0, (2,), chunk_size="8"), "chunk_size: expected an integer >= 1"),
    ],
)
def test_what_is_no_hamiltonian_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
