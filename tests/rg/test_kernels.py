"""Every kernel against the sum that defines it, state by state in NumPy; the fixed point of the majority rule."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, rbm, rg, tables

FINE = lattice.hypercubic((2, 4))
RNG = np.random.default_rng(0)
WEIGHTS, VISIBLE_BIAS, HIDDEN_BIAS = (0.7 * RNG.normal(size=shape) for shape in ((8, 3), (8,), (3,)))


def machine():
    return rbm.RBM(jnp.asarray(WEIGHTS), jnp.asarray(VISIBLE_BIAS), jnp.asarray(HIDDEN_BIAS))


def hamiltonian():
    return models.Ising(FINE, jnp.asarray(0.4), jnp.asarray(0.15)).hamiltonian


def energy_by_hand(s):
    return -sum(0.4 * s.flat[i] * s.flat[j] for i, j in FINE.edges()) - 0.15 * s.sum()


def majority_by_hand(h, s):
    agreement = h[0] * s.reshape(2, 2, 2).sum(axis=(0, 2))
    return np.prod(np.where(agreement > 0, 1, np.where(agreement == 0, 0.5, 0)))


def kadanoff_by_hand(h, s):
    sums = s.reshape(2, 2, 2).sum(axis=(0, 2))
    return np.prod(np.exp(0.6 * h[0] * sums) / (2 * np.cosh(0.6 * sums)))


def first_by_hand(h, s):
    sums = s.reshape(2, 2, 2).sum(axis=(0, 2))
    return float(np.all(h[0] == np.where(sums == 0, s[0, ::2], np.sign(sums))))


def pulled(h, spins):
    return 0.3 * jnp.asarray(h * jnp.sum(spins, dtype=jnp.int8), jnp.result_type(float))


def machine_by_hand(h, s):
    v = s.ravel()
    return np.exp(energy_by_hand(s) + VISIBLE_BIAS @ v + HIDDEN_BIAS @ h + v @ WEIGHTS @ h)


def normalized_by_hand(h, s):
    return np.prod(1 / (1 + np.exp(-2 * h * (HIDDEN_BIAS + s.ravel() @ WEIGHTS))))


# kernel, shape of the coarse spins, T(h|s) by hand, whether it is normalised
KERNELS = {
    "majority": (rg.majority_kernel, (1, 2), majority_by_hand, True),
    "majority_or_first": (lambda: rg.majority_kernel(is_random=False), (1, 2), first_by_hand, True),
    "kadanoff": (lambda: rg.kadanoff_kernel(0.6), (1, 2), kadanoff_by_hand, True),
    "kadanoff_limit": (lambda: rg.kadanoff_kernel(jnp.inf), (1, 2), majority_by_hand, True),
    "user": (
        lambda: rg.block_kernel(pulled),
        (1, 2),
        lambda h, s: np.exp(0.3 * h[0] @ s.reshape(2, 2, 2).sum(axis=(0, 2))),
        False,
    ),
    "decimation": (rg.decimation_kernel, (1, 2), lambda h, s: float(np.all(h == s[::2, ::2])), True),
    "decimation_1": (lambda: rg.decimation_kernel(1), (2, 4), lambda h, s: float(np.all(h == s)), True),
    "machine": (lambda: rg.machine_kernel(machine(), hamiltonian()), (3,), machine_by_hand, False),
    "normalized_machine": (lambda: rg.normalized_machine_kernel(machine()), (3,), normalized_by_hand, True),
}


def states_by_hand(shape):
    return [np.array(state[::-1]).reshape(shape) for state in itertools.product((-1, 1), repeat=int(np.prod(shape)))]


@pytest.mark.parametrize("name", KERNELS)
def test_coarse_graining_is_the_sum_over_all_pairs(name):
    kernel, shape, by_hand, is_normalised = KERNELS[name]
    fine = states_by_hand((2, 4))
    pairs = np.array([[by_hand(h, s) for s in fine] for h in states_by_hand(shape)])
    boltzmann = np.exp([-energy_by_hand(s) for s in fine])
    with np.errstate(divide="ignore"):
        expected = -np.log(pairs @ boltzmann), np.log(pairs.sum(axis=0))
    expected = (*expected, -np.log(boltzmann.sum()), -np.log((pairs @ boltzmann).sum()))
    for is_double in (True, False):
        tolerance = 1e-12 if is_double else 1e-5
        with jax.enable_x64(is_double):
            result = exact.coarse_grain(hamiltonian(), (2, 4), kernel(), shape)
            assert {value.dtype.itemsize for value in result} == {8 if is_double else 4}
        for got, value in zip(result, expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=tolerance, atol=tolerance)
    if is_normalised:
        np.testing.assert_allclose(expected[1], np.zeros(2**8), atol=1e-12)
        np.testing.assert_allclose(expected[2], expected[3], rtol=1e-12)


def test_new_couplings_and_a_second_kernel_of_the_same_block_compile_nothing():
    program = exact.coarse_graining._coarse_grain
    for make in (rg.majority_kernel, lambda: rg.majority_kernel(2), lambda: rg.majority_kernel(block=2)):
        exact.coarse_grain(hamiltonian(), (2, 4), make(), (1, 2))
    size = program._cache_size()
    for scale in (1.0, 2.0):
        scaled = jax.tree.map(lambda leaf, scale=scale: scale * leaf, machine())
        exact.coarse_grain(hamiltonian(), (2, 4), rg.machine_kernel(scaled, hamiltonian()), (3,))
        exact.coarse_grain(hamiltonian(), (2, 4), rg.majority_kernel(), (1, 2))
    assert program._cache_size() <= size + 1


def test_majority_kernel_is_the_distribution_of_majority():
    spins = jnp.array([[1, 1, -1, 1], [1, -1, -1, 1]], jnp.int8)  # sums 2 and 0
    kernel = rg.majority_kernel(2)
    probability = np.exp([kernel(jnp.array([[a, b]], jnp.int8), spins) for a in (1, -1) for b in (1, -1)])
    np.testing.assert_allclose(probability, [0.5, 0.5, 0, 0])
    drawn = jax.jit(jax.vmap(lambda key: rg.majority(key, spins)))(jax.random.split(jax.random.key(0), 400))
    assert np.all(np.asarray(drawn)[:, 0, 0] == 1)
    assert abs(np.asarray(drawn)[:, 0, 1].mean()) < 5 / 20


def test_exact_fixed_point_of_the_majority_rule(x64):
    """2x2 blocks of a 4x4 torus: H* = (0.29976, 0.08709, -0.00126) maps to itself, and y_T follows by autodiff."""
    names = ["nearest_neighbour", "next_nearest_neighbour", "plaquette"]
    fine, coarse = (lattice.standard_operators(lattice.hypercubic(shape), names) for shape in ((4, 4), (2, 2)))

    def step(couplings):
        model = models.OperatorModel(fine, couplings)
        result = exact.coarse_grain(model.hamiltonian, (4, 4), rg.majority_kernel(2), (2, 2))
        projected = rg.project(result.hamiltonian, coarse).couplings
        return projected, (projected, result.log_rho)

    jacobian = jax.jit(jax.jacobian(step, has_aux=True))
    couplings = jnp.array([0.3, 0.087, -0.0013])
    for _ in range(3):
        slopes, (image, log_rho) = jacobian(couplings)
        couplings = couplings - jnp.linalg.solve(slopes - jnp.eye(3), image - couplings)
    slopes, (image, _) = jacobian(couplings)
    np.testing.assert_array_equal(log_rho, np.zeros(2**16))
    np.testing.assert_allclose(image, couplings, atol=1e-12)
    np.testing.assert_allclose(couplings, [0.29976, 0.08709, -0.00126], atol=6e-6)
    eigenvalues = np.linalg.eigvals(np.asarray(slopes))
    assert abs(np.log2(np.abs(eigenvalues).max()) - 0.92921) < 6e-6


def test_configurations_of_another_shape_are_refused():
    for kernel in (rg.majority_kernel(2), rg.decimation_kernel(2)):
        with pytest.raises(ValueError, match=r"coarse: expected shape \(2, 2\), got \(1, 1\)"):
            kernel(jnp.ones((1, 1), jnp.int8), jnp.ones((4, 4), jnp.int8))
        with pytest.raises(ValueError, match=r"block: expected a divisor of every side of \(3, 4\), got 2"):
            kernel(jnp.ones((1, 2), jnp.int8), jnp.ones((3, 4), jnp.int8))
    with pytest.raises(ValueError, match=r"block: expected an integer >= 1, got 0"):
        rg.majority_kernel(0)
    small = rbm.init(jax.random.key(0), 9, 2)
    for kernel in (rg.normalized_machine_kernel(small), rg.machine_kernel(small, lambda s: 0.0 * jnp.sum(s))):
        with pytest.raises(ValueError, match=r": expected shape \(2,\), got \(1,\)"):
            kernel(tables.all_spins(1)[0], tables.all_spins(9)[0])
        with pytest.raises(ValueError, match=r": expected shape \(9,\), got \(4,\)"):
            kernel(tables.all_spins(2)[0], tables.all_spins(4)[0].reshape(2, 2))


def test_the_gaussian_kernel_is_the_density_of_block_means(x64):
    """Its integral is one, and moments of drawn fields are those of c times the mean plus noise of width w."""
    field = jnp.array([[0.3, -1.2, 0.5, 2.0], [0.1, 0.4, -0.6, 1.1]])
    kernel, grid = rg.gaussian_kernel(1.4, 0.3, 2), jnp.linspace(-2.5, 3.5, 601)
    density = jnp.exp(
        jax.vmap(jax.vmap(lambda a, b: kernel(jnp.array([[a, b]]), field), (0, None)), (None, 0))(grid, grid)
    )
    step = grid[1] - grid[0]
    assert abs(jnp.sum(density) * step**2 - 1) < 1e-12
    means = 1.4 * np.array([np.mean([0.3, -1.2, 0.1, 0.4]), np.mean([0.5, 2.0, -0.6, 1.1])])
    np.testing.assert_allclose(jnp.sum(density, axis=0) @ grid * step**2, means[0], atol=1e-12)
    np.testing.assert_allclose(jnp.sum(density, axis=1) @ grid * step**2, means[1], atol=1e-12)
    np.testing.assert_allclose(rg.block_means(None, field, 1.4)[0], means, rtol=1e-14)
    drawn = jax.vmap(lambda key: rg.block_means(key, field, 1.4, 0.3))(jax.random.split(jax.random.key(0), 4000))
    assert np.all(np.abs(np.mean(drawn, axis=0)[0] - means) < 5 * 0.3 / np.sqrt(4000))
    assert np.all(np.abs(np.std(drawn, axis=0) / 0.3 - 1) < 5 / np.sqrt(8000))


def test_kadanoffs_kernel_is_the_distribution_of_kadanoff():
    spins = jnp.array([[1, 1, -1, 1], [1, -1, -1, 1]], jnp.int8)  # sums 2 and 0
    keys = jax.random.split(jax.random.key(1), 4000)
    for parameter, chance in ((0.4, 1 / (1 + np.exp(-1.6))), (jnp.inf, 1.0)):
        drawn = np.asarray(jax.vmap(lambda key, p=parameter: rg.kadanoff(key, spins, p))(keys))[:, 0] > 0
        by_kernel = np.exp([rg.kadanoff_kernel(parameter)(jnp.array([[1, b]], jnp.int8), spins) for b in (1, -1)])
        np.testing.assert_allclose(by_kernel, [chance / 2] * 2, rtol=1e-5)
        assert abs(drawn[:, 0].mean() - chance) <= 5 * np.sqrt(chance * (1 - chance) / 4000)
        assert abs(drawn[:, 1].mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)


def test_kernels_and_blocks_refuse_what_is_none():
    with pytest.raises(ValueError, match=r"width: expected a number between 0 and inf, got 0"):
        rg.gaussian_kernel(1.0, 0.0)
    with pytest.raises(ValueError, match=r"parameter: expected a number or infinity, got nan"):
        rg.kadanoff_kernel(jnp.nan)
    with pytest.raises(ValueError, match=r"key: expected a typed key for noise of width 0.5, got None"):
        rg.block_means(None, jnp.zeros((2, 2)), 1.0, 0.5)
    with pytest.raises(ValueError, match=r"width: expected a number >= 0, got -0.5"):
        rg.block_means(jax.random.key(0), jnp.zeros((2, 2)), 1.0, -0.5)
    with pytest.raises(ValueError, match=r"is_random: expected True or False, got 1"):
        rg.majority_kernel(2, is_random=1)


def test_forbidden_states_have_no_weight_in_any_kernel():
    """H = +inf where all spins are up: the state is left out of every sum, and of derivatives."""
    weights = np.array([[0.5, -0.3], [0.2, 0.4]])
    small = rbm.RBM(jnp.asarray(weights, jnp.float32), jnp.zeros(2), jnp.zeros(2))

    def free_energy(strength):
        def energy(s):
            return jnp.where(jnp.all(s > 0), jnp.inf, -strength * (s[0] * s[1]).astype(jnp.float32))

        result = exact.coarse_grain(energy, (2,), rg.machine_kernel(small, energy), (2,))
        return result.coarse_free_energy, result

    (value, result), slope = jax.value_and_grad(free_energy, has_aux=True)(0.7)
    spins = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
    joint = np.exp(spins @ weights @ spins.T)[:3]  # exp(-E) of the allowed states
    np.testing.assert_allclose(result.hamiltonian, -np.log(joint.sum(0)), rtol=1e-5)
    np.testing.assert_allclose(value, -np.log(joint.sum()), rtol=1e-5)
    assert result.log_rho[3] == -np.inf
    assert np.isfinite(result.log_rho[:3]).all()
    assert abs(slope) < 1e-6  # the machine's free energy does not depend on H
