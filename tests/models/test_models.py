import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models
from tests.contracts.skeleton_model import TripletRing

KEY = jax.random.key(0)
SQUARE = lattice.hypercubic((3, 4), periodic=(True, False))
CUBE = lattice.hypercubic((2, 3, 3), periodic=(True, True, False))
EDGES = np.array([[0, 1], [1, 2], [0, 3], [3, 4], [2, 4], [1, 4]])


def couplings_by_hand(model) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric matrix J and fields h of any pair model, edge by edge."""
    size = int(np.prod(model.shape))
    matrix, field = np.zeros((size, size)), np.broadcast_to(np.asarray(model.field, float), model.shape).ravel()
    if isinstance(model, models.DensePairs):
        return np.asarray(model.couplings, float), field
    if isinstance(model, models.SparsePairs):
        edges, strengths = model.edge_list, model.couplings
    else:
        edges = model.lattice.edges()
        strengths = np.asarray(model.bond_couplings())[model.lattice.bonds_inside()]
    for (i, j), strength in zip(np.asarray(edges), np.asarray(strengths), strict=True):
        matrix[i, j] += strength
        matrix[j, i] += strength
    return matrix, field


def pair_models():
    dense = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    dense = np.triu(dense, 1) + np.triu(dense, 1).T
    site_field = jnp.asarray(np.random.default_rng(1).normal(size=SQUARE.shape), jnp.float32)
    return {
        "ising": models.Ising(SQUARE, 0.4, 0.1),
        "anisotropic": models.Ising(SQUARE, [0.4, -0.2], site_field),
        "triangular": models.Ising(lattice.triangular((3, 3)), -0.3, 0.2),
        "cubic": models.Ising(CUBE, 0.2),
        "plus_minus": models.plus_minus_glass(KEY, SQUARE, 0.7),
        "gaussian": models.gaussian_glass(KEY, CUBE, 0.5),
        "dense": models.dense_pairs(jnp.asarray(dense), 0.3),
        "sparse": models.sparse_pairs(EDGES, jnp.linspace(-1.0, 1.0, 6), 0.2, num_sites=5),
    }


MODELS = pair_models()


@jax.jit
def everything(model, spins):
    return model.hamiltonian(spins), model.local_field(spins), model.observables(spins)


@pytest.mark.parametrize("name", MODELS)
def test_pair_models_equal_their_matrix(name):
    model = MODELS[name]
    matrix, field = couplings_by_hand(model)
    spins = np.random.default_rng(2).choice([-1, 1], model.shape).astype(np.int8)
    s = spins.ravel().astype(float)
    energy, local_field, observables = everything(model, spins)
    np.testing.assert_allclose(energy, -0.5 * s @ matrix @ s - field @ s, rtol=2e-6)
    np.testing.assert_allclose(np.ravel(local_field), matrix @ s + field, atol=2e-6)
    np.testing.assert_allclose(observables.magnetization, s.mean(), rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_bonds_of_a_pair_model_are_those_of_its_matrix(name):
    model = MODELS[name]
    matrix, field = couplings_by_hand(model)
    sites = jnp.arange(1, field.size + 1, dtype=jnp.int32).reshape(model.shape)
    strengths, ends = np.ravel(model.bond_couplings()), [np.ravel(end) for end in model.bond_ends(sites)]
    found = np.zeros((field.size + 1,) * 2)  # ends beyond an open boundary are zero
    np.add.at(found, (ends[0], ends[1]), strengths)
    np.testing.assert_allclose((found + found.T)[1:, 1:], matrix, rtol=1e-6)
    assert not np.any(found[0])
    assert not np.any(found[:, 0])
    np.testing.assert_allclose(np.ravel(model.field_array()), field)


def general_model():
    basis = lattice.standard_operators(
        lattice.hypercubic((4, 4)), ["field", "nearest_neighbour", "corner", "plaquette"]
    )
    return models.OperatorModel(basis, jnp.array([0.1, 0.4, -0.05, 0.2]))


EVERY = MODELS | {"general": general_model(), "skeleton": TripletRing(6, 0.4)}


@pytest.mark.parametrize("model", EVERY.values(), ids=EVERY)
def test_local_field_is_half_the_energy_of_a_flip(model):
    spins = np.random.default_rng(3).choice([-1, 1], model.shape).astype(np.int8)
    energy, field, _ = everything(model, spins)
    for site in list(np.ndindex(*model.shape))[:5]:
        flipped = spins.copy()
        flipped[site] *= -1
        change = everything(model, flipped)[0] - energy
        np.testing.assert_allclose(change, 2 * spins[site] * np.asarray(field)[site], atol=1e-5)


@pytest.mark.parametrize("model", EVERY.values(), ids=EVERY)
def test_sites_of_one_colour_do_not_interact(model):
    colours = np.asarray(model.colours).ravel()
    assert set(colours) == set(range(model.num_colours))
    spins = jnp.ones(model.shape, jnp.float32)
    curvature = jax.jit(jax.hessian(model.hamiltonian))(spins).reshape(spins.size, spins.size)
    interacting = np.argwhere(np.abs(curvature) > 1e-6)
    assert len(interacting)
    assert all(colours[i] != colours[j] for i, j in interacting)


def test_ising_equals_the_general_hamiltonian():
    square = lattice.hypercubic((4, 4))
    basis = lattice.standard_operators(square, ["nearest_neighbour", "field"])
    spins = jnp.asarray(np.random.default_rng(4).choice([-1, 1], (4, 4)).astype(np.int8))
    general = models.OperatorModel(basis, jnp.array([0.3, 0.1])).hamiltonian(spins)
    np.testing.assert_allclose(models.Ising(square, 0.3, 0.1).hamiltonian(spins), general, rtol=1e-6)


def test_couplings_are_leaves():
    square = lattice.hypercubic((4, 4))
    spins = jnp.ones((4, 4), jnp.int8)
    traces = []

    @jax.jit
    def energy(model):
        traces.append(1)
        return model.hamiltonian(spins)

    for coupling in (0.1, 0.2, jnp.float32(0.3), 1):
        np.testing.assert_allclose(energy(models.Ising(square, coupling)), -32 * np.float32(coupling), rtol=1e-6)
    assert len(traces) == 1
    batch = jax.vmap(lambda k: models.Ising(square, k).hamiltonian(spins))(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(batch, [-3.2, -6.4], rtol=1e-6)
    slope = jax.grad(lambda k: models.Ising(square, k).hamiltonian(spins))(0.5)
    assert slope == -32


def test_magnetization_sums_exactly_where_float32_stalls():
    spins = jnp.ones((2**24 + 4,), jnp.int8)
    assert models.magnetization(spins.at[:2].set(-1)) == np.float32((2**24) / (2**24 + 4))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [0.1, float("nan")]])
def test_couplings_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="coupling: expected finite values, got"):
        models.Ising(SQUARE, value)
    with pytest.raises(ValueError, match="field: expected finite values, got"):
        models.Ising(SQUARE, 0.1, value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.Ising(SQUARE, [1.0, 2, 3]), r"coupling: expected a scalar or shape \(2,\)"),
        (lambda: models.Ising(SQUARE, 1.0, [1.0, 2]), r"field: expected a scalar or shape \(3, 4\)"),
        (lambda: models.Ising(SQUARE, 1.0).hamiltonian(jnp.ones(12)), r"spins: expected shape \(3, 4\), got \(12,\)"),
        (lambda: models.Glass(SQUARE, jnp.ones((3, 4))), r"bonds: expected shape \(2, 3, 4\)"),
        (
            lambda: models.plus_minus_glass(KEY, SQUARE, positive_fraction=2),
            r"expected a probability in \[0, 1\], got 2",
        ),
        (lambda: models.dense_pairs(jnp.ones((2, 3))), "couplings: expected a square matrix"),
        (lambda: models.dense_pairs(jnp.ones((2, 2))), "symmetric matrix with a zero diagonal"),
        (lambda: models.sparse_pairs(EDGES, 1.0, num_sites=4), "edges: expected sites 0 to 3, got 0 to 4"),
        (lambda: models.sparse_pairs(np.array([[1, 1]]), 1.0, num_sites=2), "two different sites, got site 1 twice"),
        (lambda: models.sparse_pairs(EDGES, jnp.ones(5), num_sites=5), r"couplings: expected a scalar or shape \(6,\)"),
        (lambda: models.sparse_pairs(EDGES * 1.0, 1.0, num_sites=5), "edges: expected integers"),
        (
            lambda: models.OperatorModel(general_model().operators, jnp.ones(3)),
            r"couplings: expected shape \(4,\), got \(3,\)",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_dense_pairs_can_be_differentiated():
    spins = jnp.ones(2, jnp.int8)
    flip = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    assert jax.grad(lambda j: models.dense_pairs(j * flip).hamiltonian(spins))(0.5) == -1


def test_glass_bonds_have_the_stated_statistics():
    square = lattice.hypercubic((64, 64))
    binary = models.plus_minus_glass(KEY, square, positive_fraction=0.25).bonds
    assert set(np.unique(binary)) == {-1, 1}
    count = binary.size
    assert abs(float((binary > 0).mean()) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / count)
    normal = np.asarray(models.gaussian_glass(KEY, square).bonds)
    assert abs(normal.mean()) < 5 / np.sqrt(count)
    assert abs(normal.var() - 1) < 5 * np.sqrt(2 / count)
