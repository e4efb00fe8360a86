import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import exact, lattice, models, rbm, rg, tables, transforms

SQUARE = lattice.hypercubic((3, 3))
CRITICAL = exact.critical_coupling


def random_machine(seed, num_visible, num_hidden, scale=0.7):
    rng = np.random.default_rng(seed)
    return rbm.RBM(
        jnp.asarray(scale * rng.normal(size=(num_visible, num_hidden))),
        jnp.asarray(scale * rng.normal(size=num_visible)),
        jnp.asarray(scale * rng.normal(size=num_hidden)),
    )


def ising(coupling=CRITICAL, field=0.1):
    return models.Ising(SQUARE, coupling, field)


@functools.partial(jax.jit, static_argnums=2)
def match(machine, model, shape):
    return rg.matching(machine, model.hamiltonian, shape=shape)


@pytest.mark.parametrize("seed", range(3))
def test_the_two_hamiltonians_are_equal_for_arbitrary_parameters(seed, x64):
    machine, model = random_machine(seed, 9, 5), ising()
    through_kernel = exact.coarse_grain(model.hamiltonian, (3, 3), rg.machine_kernel(machine, model.hamiltonian), (5,))
    result = match(machine, model, (3, 3))
    np.testing.assert_allclose(through_kernel.hamiltonian, result.coarse_hamiltonian, atol=1e-10)
    np.testing.assert_allclose(through_kernel.log_rho, result.log_rho, atol=1e-10)
    assert abs(through_kernel.coarse_free_energy - result.hidden_free_energy) < 1e-10
    assert abs(through_kernel.fine_free_energy - result.visible_free_energy) < 1e-10


@pytest.mark.parametrize("seed", range(3))
def test_free_energies_and_the_jensen_identity(seed, x64):
    machine, model = random_machine(seed, 9, 4), ising()
    result = match(machine, model, (3, 3))
    energies = np.asarray(exact.energies(model.hamiltonian, (3, 3)))
    p = np.exp(-energies) / np.exp(-energies).sum()
    q = np.asarray(rbm.visible_distribution(machine))
    assert abs(result.visible_free_energy + np.log(np.exp(-energies).sum())) < 1e-10
    assert abs(result.hidden_free_energy + rbm.log_partition(machine)) < 1e-10
    assert abs(result.kl - (p * np.log(p / q)).sum()) < 1e-10
    assert abs(result.kl - result.jensen_gap) < 1e-10
    assert abs(result.free_energy_difference + result.log_mean_rho) < 1e-10
    assert abs(result.log_rho_mean - (p * result.log_rho).sum()) < 1e-10
    assert abs(result.log_rho_std - np.sqrt((p * (result.log_rho - result.log_rho_mean) ** 2).sum())) < 1e-10
    assert result.kl > 0.1
    assert result.log_rho_max == np.abs(result.log_rho).max()


def test_the_two_coarse_hamiltonians_agree_only_when_the_machine_is_exact(x64):
    model = models.Ising(lattice.hypercubic((4,)), 0.6)
    exact_machine = rg.bond_machine(model.lattice, 0.6)
    for machine, is_exact in ((exact_machine, True), (random_machine(0, 4, 4), False)):
        of_samples = rg.conditional_hamiltonian(machine, model.hamiltonian)
        of_machine = rg.matching(machine, model.hamiltonian).coarse_hamiltonian
        normalised = of_machine + jax.scipy.special.logsumexp(-of_machine)
        assert (np.abs(of_samples - normalised).max() < 1e-10) == is_exact


def test_conditional_hamiltonian_is_that_of_the_hidden_samples(x64):
    model, machine = ising(), random_machine(3, 9, 3)
    energies = np.asarray(exact.energies(model.hamiltonian, (3, 3)))
    p = np.exp(-energies) / np.exp(-energies).sum()
    v, h = (np.asarray(tables.all_spins(n)).astype(float) for n in (9, 3))
    drive = v @ np.asarray(machine.weights) + np.asarray(machine.hidden_bias)
    conditional = np.prod(1 / (1 + np.exp(-2 * h[None] * drive[:, None])), axis=-1)
    result = rg.conditional_hamiltonian(machine, model.hamiltonian, shape=(3, 3))
    np.testing.assert_allclose(result, -np.log(p @ conditional), atol=1e-10)


@pytest.mark.parametrize("coupling", [CRITICAL, 0.1, -0.7, 30.0])
@pytest.mark.parametrize("shape", [(4,), (2, 3)])
def test_bond_machine_has_zero_kl(coupling, shape, x64):
    geometry = lattice.hypercubic(shape)
    model = models.Ising(geometry, coupling)
    machine = rg.bond_machine(geometry, jnp.float64(coupling))
    result = rg.matching(machine, model.hamiltonian, shape=shape)
    np.testing.assert_allclose(result.log_rho, geometry.num_bonds * (np.log(2) + abs(coupling)), atol=1e-10)
    assert abs(result.kl) < 1e-10


def test_bond_machine_weight_at_the_critical_point(x64):
    machine = rg.bond_machine(lattice.hypercubic((4, 4)), jnp.float64(CRITICAL))
    assert abs(np.abs(machine.weights).max() - 0.76429) < 5e-6


def test_a_machine_of_one_sublattice_is_the_exact_decimation(x64):
    """Even sites of a 4x4 torus visible, odd ones hidden, W = K on every bond: KL = 0, and even ρ = 1."""
    geometry = lattice.hypercubic((4, 4))
    table = exact.energies(models.Ising(geometry, CRITICAL).hamiltonian, (4, 4))
    colours = lattice.checkerboard(geometry).ravel()
    even, odd = np.flatnonzero(colours == 0), np.flatnonzero(colours == 1)
    weights = np.zeros((16, 16))
    for bond in geometry.edges():
        weights[bond, bond[::-1]] += CRITICAL
    machine = rbm.RBM(jnp.asarray(weights[np.ix_(even, odd)]), jnp.zeros(8), jnp.zeros(8))
    index = ((np.arange(2**16)[:, None] >> even) & 1) @ (1 << np.arange(8))
    decimated = jnp.asarray(-np.log(np.bincount(index, weights=np.exp(-np.asarray(table)))))

    def hamiltonian(v):
        return decimated[jnp.sum((v > 0).astype(jnp.int32) << jnp.arange(8, dtype=jnp.int32))]

    result = rg.matching(machine, hamiltonian)
    assert np.abs(result.log_rho).max() < 1e-10
    assert abs(result.kl) < 1e-10


def test_decimation_couplings_of_the_square_lattice(x64):
    """A hidden spin with four neighbours gives the pair and four-spin couplings of the closed form."""
    k = CRITICAL
    star = rbm.RBM(jnp.full((4, 1), k), jnp.zeros(4), jnp.zeros(1))
    couplings = -transforms.walsh(jax.vmap(rbm.visible_hamiltonian, (None, 0))(star, tables.all_spins(4)))
    pair, four = np.log(np.cosh(4 * k)) / 8, np.log(np.cosh(4 * k)) / 8 - np.log(np.cosh(2 * k)) / 2
    np.testing.assert_allclose(couplings[0b0011], pair, atol=1e-10)
    np.testing.assert_allclose(couplings[0b1111], four, atol=1e-10)
    np.testing.assert_allclose([2 * pair, pair, four], [0.27465, 0.13733, -0.03596], atol=5e-6)


def test_gradient_of_kl_is_the_likelihood_gradient_and_trains_a_machine(x64):
    model = ising(0.3)
    machine = random_machine(1, 9, 3, scale=0.1)
    energies = exact.energies(model.hamiltonian, (3, 3))
    weights = jax.nn.softmax(-energies)
    likelihood = jax.jit(jax.grad(lambda m: -rbm.log_likelihood(m, tables.all_spins(9), weights)))(machine)
    optimizer = optax.adam(0.05)
    value_and_grad = jax.value_and_grad(lambda m: rg.matching(m, model.hamiltonian, shape=(3, 3)).kl)

    def step(carry, _):
        m, state = carry
        kl, gradient = value_and_grad(m)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(m, updates), state), (kl, gradient)

    with jax.numpy_dtype_promotion("standard"):  # optax mixes int32 counts with floats
        _, (kls, gradients) = jax.jit(lambda m: jax.lax.scan(step, (m, optimizer.init(m)), length=150))(machine)
    assert kls[-1] < 0.2 * kls[0]
    for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(likelihood), strict=True):
        np.testing.assert_allclose(a[0], b, atol=1e-10)


def test_gradient_of_the_free_energy_difference(x64):
    model, machine = ising(), random_machine(2, 9, 3, scale=0.3)
    gradient = jax.grad(lambda m: match(m, model, (3, 3)).free_energy_difference ** 2)(machine)
    step = jax.tree.map(lambda x: 1e-6 * jnp.ones_like(x), machine)
    ahead, behind = (
        match(jax.tree.map(lambda x, d, sign=sign: x + sign * d, machine, step), model, (3, 3)).free_energy_difference
        ** 2
        for sign in (1, -1)
    )
    slope = sum(jnp.sum(g * d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(step), strict=True))
    np.testing.assert_allclose((ahead - behind) / 2, slope, rtol=1e-6)


def test_bad_shapes_are_refused():
    machine = rbm.init(jax.random.key(0), 9, 2)
    with pytest.raises(ValueError, match=r"shape: expected 9 visible spins, got \(2, 4\)"):
        rg.matching(machine, ising().hamiltonian, shape=(2, 4))
    with pytest.raises(ValueError, match=r"machine: expected at most 25 .* got 27"):
        rg.matching(rbm.init(jax.random.key(0), 9, 27), ising().hamiltonian, shape=(3, 3))
    with pytest.raises(ValueError, match="expected a finite energy of every state"):
        rg.matching(machine, lambda v: jnp.where(v[0] > 0, jnp.inf, 0.0))
    with pytest.raises(ValueError, match="coupling: expected finite values"):
        rg.bond_machine(SQUARE, float("nan"))
    with pytest.raises(ValueError, match=r"coupling: expected shape \(\), got \(2,\)"):
        rg.bond_machine(SQUARE, jnp.ones(2))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.float16, jnp.float32])
def test_a_machine_of_integers_is_matched_as_one_of_floats(dtype):
    weights, visible_bias, hidden_bias = np.array([[1, -1], [0, 1], [1, 1]]), np.array([1, 0, 0]), np.array([0, -1])
    machine = rbm.RBM(*(jnp.asarray(value, dtype) for value in (weights, visible_bias, hidden_bias)))
    v = np.array([[1 if index >> k & 1 else -1 for k in range(3)] for index in range(8)])
    p = np.exp(0.5 * v[:, 0] * v[:, 1])
    q = np.exp(v @ visible_bias) * np.prod(2 * np.cosh(hidden_bias + v @ weights), axis=1)
    p, q = p / p.sum(), q / q.sum()
    result = rg.matching(machine, lambda s: -0.5 * (s[0] * s[1]).astype(jnp.float32))
    np.testing.assert_allclose(result.kl, np.sum(p * np.log(p / q)), rtol=1e-5)
    np.testing.assert_allclose(result.jensen_gap, np.sum(p * np.log(p / q)), rtol=1e-5)
    for refused in (machine._replace(hidden_bias=jnp.zeros(3)), machine._replace(visible_bias=jnp.zeros((3, 1)))):
        with pytest.raises(ValueError, match="_bias: expected shape"):
            rg.matching(refused, ising().hamiltonian)
