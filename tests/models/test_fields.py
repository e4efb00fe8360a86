"""Fields on a lattice against sums by hand, quadrature, and the Ising spins inside them."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models
from jaxrg.models.fields import wrap_angles
from jaxrg.tables import all_spins
from tests.rows import some_now

TORUS = lattice.hypercubic((3, 4))
OPEN = lattice.hypercubic((3, 2), periodic=(True, False))
CUBE = lattice.hypercubic((2, 3, 3), periodic=(True, True, False))
RNG = np.random.default_rng(0)
KEY = jax.random.key(1)


def bonds_by_hand(grid):
    return [(i, j) for i, j in grid.edges()]


def phi4_by_hand(grid, field, kinetic, mass_squared, quartic, constant):
    flat = field.reshape(grid.num_sites, -1).astype(float)
    squares = (flat**2).sum(axis=1)
    steps = sum(((flat[i] - flat[j]) ** 2).sum() for i, j in bonds_by_hand(grid))
    return kinetic * steps + (mass_squared * squares + quartic * squares**2 + constant).sum()


def hopping_by_hand(grid, field, hopping):
    flat = field.reshape(grid.num_sites, -1).astype(float)
    return -hopping * sum((flat[i] * flat[j]).sum() for i, j in bonds_by_hand(grid))


@jax.jit
def action_of(model, field):
    return model.action(field)


def drawn(model, scale=1.0):
    return (scale * RNG.normal(size=model.shape)).astype(np.float32)


@pytest.mark.parametrize("grid", [TORUS, OPEN, CUBE])
@pytest.mark.parametrize("cls", [models.Phi4, models.ComplexPhi4])
def test_quartic_fields_equal_the_sum_over_their_bonds(grid, cls):
    mass_squared = RNG.normal(size=grid.shape).astype(np.float32)
    model = cls(grid, mass_squared, 0.7, 1.3, 0.2)
    field = drawn(model)
    expected = phi4_by_hand(grid, field, 1.3, mass_squared.ravel().astype(float), 0.7, 0.2)
    np.testing.assert_allclose(action_of(model, field), expected, rtol=1e-5)
    benchmark = cls(TORUS, -4.0, 0.9)
    field = drawn(benchmark)
    squares = (field.reshape(12, -1).astype(float) ** 2).sum(axis=1)
    expected = hopping_by_hand(TORUS, field, 2.0) + 0.9 * (squares**2).sum()
    np.testing.assert_allclose(action_of(benchmark, field), expected, rtol=1e-5)


@pytest.mark.parametrize("grid", [TORUS, OPEN])
@pytest.mark.parametrize("make", [models.kappa_phi4, models.kappa_complex_phi4])
def test_the_kappa_convention_is_the_kinetic_one_for_another_field(grid, make):
    kappa, quartic = 0.27, 0.4
    model = make(grid, kappa, quartic)
    field = drawn(model)
    squares = (field.reshape(grid.num_sites, -1).astype(float) ** 2).sum(axis=1)
    expected = hopping_by_hand(grid, field, 2 * kappa) + (squares + quartic * (squares - 1) ** 2).sum()
    np.testing.assert_allclose(action_of(model, field), expected, rtol=1e-5)
    if grid is TORUS:
        kinetic = type(model)(grid, (1 - 2 * quartic) / kappa - 4, quartic / kappa**2)
        rescaled = action_of(kinetic, np.float32(math.sqrt(kappa)) * field)
        np.testing.assert_allclose(rescaled + grid.num_sites * quartic, expected, rtol=1e-5)


def test_without_mass_beyond_the_hopping_lambda_is_one_half():
    """As `kappa_phi4` says of m² = -4: then 2 lambda' kappa² = 1."""
    kappa = 1 / math.sqrt(2 * 4.807)
    benchmark, ising_like = models.Phi4(TORUS, -4.0, 4.807), models.kappa_phi4(TORUS, kappa, 0.5)
    field = drawn(benchmark)
    scaled = action_of(ising_like, field / np.float32(math.sqrt(kappa)))
    np.testing.assert_allclose(scaled - 0.5 * 12, action_of(benchmark, field), rtol=1e-5)


def test_the_hopping_convention_of_bosons():
    model = models.hopping_complex_phi4(OPEN, 1.1, -2.0, 0.6)
    field = drawn(model)
    squares = (field.reshape(6, 2).astype(float) ** 2).sum(axis=1)
    expected = hopping_by_hand(OPEN, field, 1.1) + (-2 * squares + 0.6 * squares**2).sum()
    np.testing.assert_allclose(action_of(model, field), expected, rtol=1e-5)


@pytest.mark.parametrize("grid", [TORUS, OPEN, lattice.triangular((3, 3))])
def test_planar_spins_equal_the_sum_over_their_bonds(grid):
    model = models.XY(grid, 0.8)
    angles = drawn(model, 3.0)
    expected = -0.8 * sum(np.cos(angles.ravel()[i] - angles.ravel()[j]) for i, j in bonds_by_hand(grid))
    np.testing.assert_allclose(action_of(model, angles), expected, rtol=1e-5)
    np.testing.assert_allclose(action_of(model, model.wrap(angles)), expected, rtol=1e-4)
    seen = model.observables(angles)
    np.testing.assert_allclose(seen.energy, expected / 0.8 / grid.num_sites, rtol=1e-5)
    mean = [np.cos(angles).mean(), np.sin(angles).mean()]
    np.testing.assert_allclose(seen.magnetization, mean, atol=1e-6)


def test_angles_are_wrapped_into_a_half_open_interval():
    given = jnp.array(
        [-math.pi, math.pi, 0.0, 3 * math.pi, 1e-8 - math.pi, -7.0, 100.0, np.nextafter(-np.float32(math.pi), -4)]
    )
    wrapped = np.asarray(wrap_angles(given))
    assert np.all((wrapped >= -np.float32(math.pi)) & (wrapped < np.float32(math.pi)))
    turns = (np.asarray(given) - wrapped) / (2 * math.pi)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-5)


@pytest.mark.parametrize("grid", [OPEN, CUBE])
def test_the_helicity_modulus_is_the_answer_to_a_twist(grid):
    """Twisted bonds, by autodiff: d²F/d alpha² = <S''> - <S'^2> of every axis where F = -ln Z."""
    xy = models.XY(grid, 0.9)
    angles = drawn(xy, 3.0)
    kappa = models.kappa_complex_phi4(grid, 0.45, 0.3)
    lengths = RNG.uniform(0.5, 2, size=grid.shape)
    field = np.stack([lengths * np.cos(angles), lengths * np.sin(angles)], axis=-1).astype(np.float32)
    flat, sizes = angles.astype(float).ravel(), lengths.ravel()
    index = np.arange(grid.num_sites).reshape(grid.shape)

    def response(strengths, axis):
        """First and second derivative of the action by a twist of every bond along the axis."""
        slope = curvature = 0.0
        for bond in grid.bonds:
            kept = lattice.inside(grid, bond)
            there = np.roll(index, tuple(-step for step in bond), axis=tuple(range(grid.ndim)))
            for i, j in zip(index[kept], there[kept], strict=True):
                weight = 0.9 * strengths[i] * strengths[j]
                slope += bond[axis] * weight * np.sin(flat[j] - flat[i])
                curvature += bond[axis] ** 2 * weight * np.cos(flat[j] - flat[i])
        return curvature - slope**2

    for model, values, strengths in ((xy, angles, np.ones_like(sizes)), (kappa, field, sizes)):
        expected = np.mean([response(strengths, axis) for axis in range(grid.ndim)]) / grid.num_sites
        np.testing.assert_allclose(model.observables(values).helicity_modulus, expected, rtol=2e-4, atol=1e-4)


def test_vortices_are_counted():
    grid = lattice.hypercubic((6, 6), periodic=False)
    x, y = np.meshgrid(np.arange(6) - 2.4, np.arange(6) - 2.6, indexing="ij")
    one = np.arctan2(y, x).astype(np.float32)
    assert float(models.XY(grid, 1.0).observables(one).vortex_density) == pytest.approx(1 / 25)
    far = np.arctan2(y - 40, x).astype(np.float32)
    assert float(models.XY(grid, 1.0).observables(far).vortex_density) == 0
    field = np.stack([np.cos(one), np.sin(one)], axis=-1) * 0.3
    assert float(models.ComplexPhi4(grid, 1.0, 1.0).observables(field).vortex_density) == pytest.approx(1 / 25)
    assert float(models.XY(lattice.hypercubic((5,)), 1.0).observables(np.zeros(5)).vortex_density) == 0
    torus = 36 * float(models.XY(lattice.hypercubic((6, 6)), 1.0).observables(one).vortex_density)
    assert torus == pytest.approx(round(torus))
    assert round(torus) % 2 == 0  # windings of a torus sum to zero
    assert torus > 1


REFLECTED = {
    "phi4": models.Phi4(OPEN, -1.0, 0.7),
    "complex": models.kappa_complex_phi4(OPEN, 0.4, 0.3),
    "xy": models.XY(OPEN, 0.9),
    "double_bonds": models.XY(lattice.hypercubic((2, 2)), 0.9),
}


@pytest.mark.parametrize("name", REFLECTED)
def test_reflected_sites_are_ising_spins(name):
    """The exactness of cluster moves: the action of every partial reflection is that of the embedded model."""
    model = REFLECTED[name]
    field = jnp.asarray(drawn(model))
    bonds, reflected, aligned = model.reflection(jnp.float32(0.37), field)
    glass = models.Glass(model.lattice, bonds, field=aligned)
    signs = jnp.asarray(all_spins(model.lattice.num_sites)).reshape(-1, *model.lattice.shape)
    is_reflected = (signs < 0).reshape(signs.shape + (1,) * (field.ndim - signs.ndim + 1))
    mixed = jnp.where(is_reflected, reflected[None], field[None])
    actions, energies = jax.vmap(model.action)(mixed), jax.vmap(glass.hamiltonian)(signs)
    np.testing.assert_allclose(actions - actions[-1], energies - energies[-1], atol=2e-4)
    assert float(jnp.std(energies)) > 0.1
    again = model.reflection(jnp.float32(0.37), reflected).reflected
    wrap = getattr(model, "wrap", lambda values: values)
    np.testing.assert_allclose(wrap(again - field), 0, atol=2e-6)


GOLDEN = {4: 37.376732, 8: 148.655016, 16: 592.875740, 32: 2369.587091, 64: 9476.428333, 128: 37903.793523}


@pytest.mark.parametrize("side", some_now(GOLDEN, 4, 32))
def test_the_dual_of_ising_has_the_published_partition_functions(x64, side):
    model = models.IsingDual(lattice.hypercubic((side, side)), jnp.float64(exact.critical_coupling))
    found = exact.torus_log_partition(model.coupling, (side, side)) + model.log_offset()
    np.testing.assert_allclose(found, GOLDEN[side], atol=6e-7)


def by_quadrature(model, num_points, half_width):
    """ln of the integral of exp(-S), and the mean observables, on a grid: exponentially exact for such integrands."""
    size = math.prod(model.shape)
    points = np.linspace(-half_width, half_width, num_points)
    grid = np.stack(np.meshgrid(*[points] * size, indexing="ij"), axis=-1).reshape(-1, *model.shape)
    actions = np.asarray(jax.jit(jax.vmap(model.action))(jnp.asarray(grid)))
    seen = jax.tree.map(np.asarray, jax.jit(jax.vmap(model.observables))(jnp.asarray(grid)))
    weights = np.exp(actions.min() - actions)
    log_integral = np.log(weights.sum()) - actions.min() + size * np.log(points[1] - points[0])
    return log_integral, jax.tree.map(lambda values: np.average(values, axis=0, weights=weights), seen)


@pytest.mark.parametrize(
    ("sides", "coupling"),
    [((2,), 0.3), ((3,), -0.4), pytest.param((2, 2), 0.2, marks=pytest.mark.slow)],
    ids=["pair", "frustrated", "square"],
)
def test_the_dual_of_ising_by_quadrature(x64, sides, coupling):
    """The offset, the frustrated ring too, and that conditional means are the observables of the spins."""
    model = models.IsingDual(lattice.hypercubic(sides), jnp.float64(coupling), jnp.float64(0.4))
    log_integral, seen = by_quadrature(model, 161 if len(model.shape) * sides[0] < 4 else 41, 14.0)
    ising = models.Ising(model.lattice, jnp.float64(coupling))
    table = jnp.asarray(all_spins(math.prod(sides)), jnp.int8).reshape(-1, *sides)
    energies = np.asarray(jax.vmap(ising.hamiltonian)(table))
    log_partition = np.log(np.exp(-energies).sum())
    np.testing.assert_allclose(log_integral - log_partition, model.log_offset(), atol=1e-6)
    weights = np.exp(-energies)
    expected = np.average(np.asarray(jax.vmap(ising.observables)(table).energy), weights=weights)
    np.testing.assert_allclose(seen.energy, expected, atol=1e-6)
    np.testing.assert_allclose(seen.magnetization, 0, atol=1e-9)
    slope = jax.grad(lambda k: models.IsingDual(model.lattice, k, jnp.float64(0.4)).log_offset())(jnp.float64(coupling))
    step = 1e-5
    ends = [
        models.IsingDual(model.lattice, jnp.float64(coupling + s), jnp.float64(0.4)).log_offset() for s in (step, -step)
    ]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


def test_the_matrix_of_the_dual_is_the_adjacency_and_a_margin(x64):
    for grid in (lattice.hypercubic((3, 4)), lattice.triangular((3, 3)), lattice.hypercubic((2, 5))):
        model = models.IsingDual(grid, jnp.float64(0.35), jnp.float64(0.2))
        size = grid.num_sites
        adjacency = np.zeros((size, size))
        for i, j in grid.edges():
            adjacency[i, j] += 0.35
            adjacency[j, i] += 0.35
        expected = adjacency + (0.2 - np.linalg.eigvalsh(adjacency)[0]) * np.eye(size)
        basis = jnp.eye(size).reshape(size, *grid.shape)
        matrix, root = (
            np.asarray(jax.vmap(functools.partial(model._filtered, power))(basis)).reshape(size, size)
            for power in (1, 0.5)
        )
        np.testing.assert_allclose(matrix, expected, atol=1e-10)
        np.testing.assert_allclose(root @ root, expected, atol=1e-10)
        field = RNG.normal(size=grid.shape)
        direct = 0.5 * field.ravel() @ np.linalg.solve(expected, field.ravel()) - np.log(np.cosh(field)).sum()
        np.testing.assert_allclose(model.action(field), direct, rtol=1e-10)
        np.testing.assert_allclose(np.linalg.eigvalsh(matrix)[0], 0.2, atol=1e-10)


@pytest.mark.slow
def test_the_map_between_spins_and_fields_keeps_the_ising_model():
    """Spins to fields to spins is one step of a chain that leaves the Boltzmann distribution invariant."""
    model = models.IsingDual(lattice.hypercubic((2, 2)), 0.2, 0.3)
    ising = models.Ising(model.lattice, 0.2)
    table = jnp.asarray(all_spins(4), jnp.int8).reshape(-1, 2, 2)
    weights = np.exp(-np.asarray(jax.vmap(ising.hamiltonian)(table), float))
    weights /= weights.sum()
    count = 40_000
    start = jnp.asarray(np.random.default_rng(3).choice(16, p=weights, size=count))
    field_keys, spin_keys = (jax.random.split(key, count) for key in jax.random.split(KEY))
    fields = jax.jit(jax.vmap(model.field_given_spins))(field_keys, table[start])
    spins = jax.jit(jax.vmap(model.spins_given_field))(spin_keys, fields)
    assert spins.dtype == jnp.int8
    index = ((np.asarray(spins).reshape(count, 4) > 0) * 2 ** np.arange(4)).sum(axis=1)
    counts = np.bincount(index, minlength=16)
    scores = (counts - count * weights) / np.sqrt(count * weights * (1 - weights))
    assert np.all(np.abs(scores) < 5)
    assert np.mean(index == np.asarray(start)) < 0.9, "expected a chain that moves"
    moved = (np.asarray(fields).reshape(count, 4) * np.asarray(spins).reshape(count, 4)).mean()
    # E s_i x_i = E [x tanh x] = (K_ii + sum of K_ij <s_i s_j>), by the mean of x given s.
    matrix = np.asarray(jax.vmap(functools.partial(model._filtered, 1))(jnp.eye(4).reshape(4, 2, 2))).reshape(4, 4)
    flat = np.asarray(table, float).reshape(16, 4)
    expected = np.einsum("s,si,ij,sj->", weights, flat, matrix, flat) / 4
    np.testing.assert_allclose(moved, expected, rtol=0.02)


REFUSED = [
    (lambda: models.Phi4((4, 4), 1.0, 1.0), "lattice: expected a Lattice"),
    (lambda: models.Phi4(TORUS, [1.0, 2.0], 1.0), r"mass_squared: expected a scalar or shape \(3, 4\)"),
    (lambda: models.ComplexPhi4(TORUS, 1.0, math.nan), "quartic: expected finite values"),
    (lambda: models.kappa_phi4(TORUS, "0.3", 1.0), "kappa: expected real numbers"),
    (lambda: models.kappa_complex_phi4((4, 4), 0.3, 1.0), "lattice: expected a Lattice"),
    (lambda: models.hopping_complex_phi4(TORUS, 1.0, [1.0, 2.0], 1.0), "quadratic: expected a scalar"),
    (lambda: models.XY(TORUS, math.inf), "coupling: expected finite values"),
    (lambda: models.IsingDual(OPEN, 0.3), "lattice: expected one that is periodic along all axes"),
    (lambda: models.IsingDual(TORUS, 0.3, 0.0), "margin: expected a number between 0"),
    (lambda: models.Phi4(TORUS, 1.0, 1.0).action(np.zeros((3, 3))), r"field: expected shape \(3, 4\), got \(3, 3\)"),
    (lambda: models.ComplexPhi4(TORUS, 1.0, 1.0).action(np.zeros((3, 4))), r"field: expected shape \(3, 4, 2\)"),
    (lambda: models.XY(TORUS, 1.0).observables("field"), "field: expected real numbers"),
    (lambda: models.IsingDual(TORUS, 0.3).spins_given_field(0, np.zeros((3, 4))), "key: expected a typed key"),
    (lambda: models.IsingDual(TORUS, 0.3).field_given_spins(KEY, np.zeros((3, 4))), "spins: expected spins"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_no_model_of_a_field_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_couplings_are_leaves_and_precisions_meet(x64):
    model = models.Phi4(TORUS, jnp.float32(-4.0), 6.0)
    field = RNG.normal(size=TORUS.shape)
    assert model.action(field).dtype == jnp.float64
    slopes = jax.grad(lambda m: m.action(field))(model)
    np.testing.assert_allclose(slopes.quartic, (field**4).sum(), rtol=1e-6)
    couplings = jnp.array([0.1, 0.2, 0.3])
    actions = jax.vmap(lambda k: models.XY(TORUS, k).action(field))(couplings)
    np.testing.assert_allclose(actions, couplings * actions[0] / 0.1, rtol=1e-12)


def test_one_site_and_no_bonds():
    site = lattice.hypercubic((1,), periodic=False)
    assert float(models.Phi4(site, 2.0, 3.0).action([0.5])) == pytest.approx(2 * 0.25 + 3 * 0.0625)
    apart = lattice.Lattice((2, 2), (True, True), ())
    for model in (models.Phi4(apart, 2.0, 3.0), models.kappa_complex_phi4(apart, 0.3, 1.0), models.XY(apart, 1.0)):
        assert np.all(np.isfinite(model.action(np.ones(model.shape))))
        assert all(np.all(np.isfinite(leaf)) for leaf in model.observables(np.ones(model.shape)))


def test_a_free_field_is_gaussian(x64):
    """S is a quadratic form with the eigenvalues k 4 sum sin²(p/2) + m²."""
    model = models.Phi4(TORUS, jnp.float64(0.7), jnp.float64(0.0), jnp.float64(0.5))
    basis = jnp.eye(12).reshape(12, *TORUS.shape)
    hessian = np.asarray(jax.jit(jax.vmap(jax.grad(model.action)))(basis)).reshape(12, 12)
    momenta = itertools.product(*(2 * np.pi * np.arange(side) / side for side in TORUS.shape))
    expected = sorted(2 * (0.7 + 0.5 * sum(4 * np.sin(k / 2) ** 2 for k in momentum)) for momentum in momenta)
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), expected, atol=1e-10)
