"""What a user gives a model: refused in words where it is wrong, and taken as it is where JAX rebuilds a model."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models
from jaxrg.models import observables

SQUARE = lattice.hypercubic((4, 4))
UP = jnp.ones((4, 4), jnp.int8)
UPPER = np.array([[0, 1.2, 0], [0, 0, 0.9], [0, 0, 0]], np.float32)
BASIS = lattice.standard_operators(SQUARE, ["nearest_neighbour", "field"])
EDGES = np.array([[0, 1], [1, 2]])


def sparse(**changes):
    given = {
        "edge_list": EDGES,
        "couplings": jnp.ones(2),
        "field": jnp.zeros(3),
        "colours": np.array([0, 1, 0]),
        "num_sites": 3,
        "num_colours": 2,
    }
    return models.SparsePairs(**given | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.Glass(SQUARE, jnp.ones((2, 4, 4)), jnp.ones(4)), r"coupling: expected a scalar, got \(4,\)"),
        (lambda: models.Glass(SQUARE, jnp.ones((4, 4))), r"bonds: expected shape \(2, 4, 4\), got \(4, 4\)"),
        (lambda: models.Glass(SQUARE, jnp.ones((2, 4, 4)), 1.0, jnp.ones(4)), "field: expected a scalar or shape"),
        (lambda: models.Glass((4, 4), jnp.ones((2, 4, 4))), "lattice: expected a Lattice such as .* got a tuple"),
        (lambda: models.plus_minus_glass(jax.random.key(0), (4, 4)), "lattice: expected a Lattice"),
        (lambda: models.gaussian_glass(0, SQUARE), "key: expected a typed key"),
        (lambda: models.Ising(SQUARE, "0.4"), "coupling: expected real numbers, got '0.4'"),
        (lambda: models.Ising(SQUARE, None), "coupling: expected real numbers, got None"),
        (lambda: models.Ising(SQUARE, 0.4 + 1j), "coupling: expected real numbers"),
        (lambda: models.Ising((4, 4), 0.4), "lattice: expected a Lattice such as .* got a tuple"),
        (lambda: models.Ising(SQUARE, [0.1, 0.2, 0.3]), r"coupling: expected a scalar or shape \(2,\), got \(3,\)"),
        (lambda: models.Ising(SQUARE, 0.4, jnp.ones(4)), r"field: expected a scalar or shape \(4, 4\), got \(4,\)"),
        (lambda: dataclasses.replace(models.Ising(SQUARE, 0.4), field=jnp.inf), "field: expected finite values"),
        (lambda: models.DensePairs(UPPER), "couplings: expected a symmetric matrix with a zero diagonal"),
        (lambda: models.DensePairs(np.eye(3)), "couplings: expected a symmetric matrix with a zero diagonal"),
        (lambda: jax.jit(lambda: models.DensePairs(UPPER).couplings)(), "couplings: expected a symmetric matrix"),
        (lambda: models.DensePairs(jnp.ones((2, 3))), r"couplings: expected a square matrix, got shape \(2, 3\)"),
        (lambda: models.DensePairs(UPPER + UPPER.T, jnp.ones(2)), r"field: expected a scalar or shape \(3,\)"),
        (lambda: models.OperatorModel(SQUARE, jnp.ones(2)), "operators: expected a basis of lattice.operators, got a"),
        (lambda: models.OperatorModel(BASIS, 0.4), r"couplings: expected shape \(2,\), got \(\)"),
        (lambda: sparse(colours=np.array([0, 0, 1])), r"colours: expected different ones .* one on edge \[0, 1\]"),
        (lambda: sparse(colours=np.array([0, 2, 0])), "colours: expected integers from 0 to 1, got 2"),
        (lambda: sparse(couplings=jnp.ones(3)), r"couplings: expected shape \(2,\), got \(3,\)"),
        (lambda: sparse(field=0.0), r"field: expected shape \(3,\), got \(\)"),
        (lambda: sparse(edge_list=np.array([[0, 1], [1, 3]])), "edge_list: expected sites 0 to 2, got 0 to 3"),
        (lambda: sparse(edge_list=np.array([[0, 1], [1, 1]])), "edge_list: expected two different sites, got site 1"),
        (lambda: models.Ising(SQUARE, 0.4).hamiltonian(0 * UP), r"spins: expected spins \+1 or -1, got 0"),
        (lambda: models.magnetization(jnp.full(4, 255, jnp.uint8)), r"spins \+1 or -1 of a signed type, got uint8"),
        (lambda: models.magnetization(jnp.ones(4, bool)), r"spins: expected spins .* of a signed type, got bool"),
        (lambda: lattice.evaluate(BASIS, jnp.full((4, 4), 255, jnp.uint8)), "of a signed type, got uint8"),
    ],
)
def test_what_is_no_model_or_configuration_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_traced_matrix_counts_through_its_symmetric_part():
    """P(s) depends on J_ij + J_ji alone, and not on the diagonal: <s0 s1> = tanh 0.6, <s1 s2> = tanh 0.45."""
    states = np.array(list(itertools.product([-1, 1], repeat=3)), np.float32)

    @jax.jit
    def both(matrix):
        model = models.DensePairs(matrix)
        return jax.vmap(model.hamiltonian)(states), jax.vmap(model.local_field)(states)

    energies, fields = both(UPPER + np.eye(3, dtype=np.float32))
    weights = np.exp(-np.asarray(energies, np.float64))
    weights /= weights.sum()
    pairs = [(weights * states[:, i] * states[:, i + 1]).sum() for i in (0, 1)]
    np.testing.assert_allclose(pairs, np.tanh([0.6, 0.45]), rtol=1e-6)
    np.testing.assert_allclose(fields, states @ (0.5 * (UPPER + UPPER.T)), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.float64, bool])
def test_couplings_of_any_type_are_floats_of_single_precision(dtype):
    model = models.Ising(SQUARE, np.asarray(1, dtype), [[dtype(1)] * 4] * 4)
    assert (model.coupling.dtype, model.field.dtype) == (np.float32, np.float32)
    assert model.hamiltonian(UP) == -32 - 16
    assert models.Glass(SQUARE, np.ones((2, 4, 4), dtype)).observables(UP).energy == -2


def test_spins_come_in_any_signed_form():
    model = models.Ising(SQUARE, 0.5)
    for spins in (UP, np.ones((4, 4)), np.ones((4, 4)).tolist(), UP.astype(jnp.bfloat16), UP.astype(jnp.int32)):
        assert model.hamiltonian(spins) == -16
        assert model.observables(spins) == (-2, 1)
        np.testing.assert_array_equal(model.local_field(spins), np.full((4, 4), 2.0))


def test_units_of_energy_are_those_that_the_docstrings_state():
    general = models.OperatorModel(BASIS, jnp.array([0.5, 0.0]))
    assert general.observables(UP).energy == -1  # H/N
    assert models.Ising(SQUARE, 0.5).observables(UP).energy == -2  # in units of J


def test_a_batch_of_models_is_made_and_used_under_vmap():
    couplings = jnp.array([0.1, 0.2, 0.3])
    batch = jax.vmap(lambda k: models.Ising(SQUARE, k))(couplings)
    np.testing.assert_allclose(jax.vmap(lambda model: model.hamiltonian(UP))(batch), -32 * couplings, rtol=1e-6)
    gradient = jax.grad(lambda model: model.hamiltonian(UP))(models.Ising(SQUARE, 0.4))
    assert (gradient.coupling, gradient.field) == (-32, -16)
    shapes = jax.tree.map(jnp.shape, models.DensePairs(UPPER + UPPER.T))
    assert shapes.couplings == (3, 3)  # leaves that are no arrays


def test_methods_of_a_model_are_compiled_once(monkeypatch):
    traces = []
    plain = observables.exact_sum
    monkeypatch.setattr("jaxrg.models.ising.exact_sum", lambda *given: traces.append(1) or plain(*given))
    odd = lattice.hypercubic((3, 5))  # of no other test
    for coupling in (0.2, 0.3):
        models.Ising(odd, coupling).hamiltonian(jnp.ones((3, 5), jnp.int8))
    assert len(traces) == 2  # one for each direction of bond


@pytest.mark.parametrize("seed", range(3))
def test_sums_in_parts_are_exact(seed, monkeypatch):
    monkeypatch.setattr(observables, "_TERMS_AT_ONCE", 2**16)
    size = 2**18 + 2
    spins = np.where(np.random.default_rng(seed).random(size) < [0.1, 0.5, 0.9][seed], 1, -1).astype(np.int8)
    total = jax.jit(lambda spins: observables.exact_sum(spins, jnp.float32))(spins)
    assert total == np.float32(spins.sum(dtype=np.int64))


def test_more_sites_than_an_int32_counts_do_not_overflow():
    assert jax.jit(lambda: models.magnetization(jnp.ones(2**31 + 2, jnp.int8)))() == 1


@pytest.mark.parametrize("names", [("coupling",), ("coupling", "size", "size"), ("coupling", "sizes"), "coupling"])
def test_a_pytree_wants_every_field_once(names):
    kind = dataclasses.make_dataclass("Ring", ["coupling", "size"])
    with pytest.raises(ValueError, match=r"pytree: expected every field of a dataclass once, .* for Ring with"):
        models.pytree(data_fields=names, meta_fields=())(kind)
    with pytest.raises(ValueError, match="pytree: expected every field of a dataclass once"):
        models.pytree(data_fields=("coupling",), meta_fields=())(object)
