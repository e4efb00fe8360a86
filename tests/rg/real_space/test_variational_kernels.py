"""Kernels with parameters: minima against closed forms, machines and enumeration; what diverges is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, rbm, rg
from jaxrg.rg import real_space

SQUARE = lattice.hypercubic((2, 4))


def ising(coupling=0.4):
    return models.Ising(SQUARE, jnp.asarray(coupling)).hamiltonian


def pulled(weights):
    """ln t = p h S + a + c S^2 of a block of four: not normalised, unless a and c cancel ln 2 cosh(p S)."""

    def log_weight(h, spins):
        total = jnp.sum(spins).astype(weights.dtype)
        return weights[0] * h.astype(weights.dtype) * total + weights[1] * total**2 + weights[2] * total**4

    return rg.block_kernel(log_weight)


def test_matching_of_a_kernel_is_that_of_a_machine(x64):
    machine = rbm.init(jax.random.key(0), 8, 3, scale=0.3, dtype=jnp.float64)
    expected = rg.matching(machine, ising(), shape=(2, 4))
    found = rg.kernel_matching(ising(), (2, 4), rg.machine_kernel(machine, ising()), (3,))
    for got, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, value, atol=1e-12)
    normalised = rg.kernel_matching(ising(), (2, 4), rg.kadanoff_kernel(0.5), (1, 2))
    assert normalised.log_rho_max < 1e-14
    assert abs(normalised.kl) < 1e-14
    assert abs(normalised.free_energy_difference) < 1e-14


def test_the_least_kl_is_zero_where_the_kernel_can_be_normalised(x64):
    """ln 2 cosh(p S) takes three values of S = 0, 2, 4: with S^2 and S^4 free, rho is constant whatever p is."""
    energy = ising()
    half = jnp.float64(0.5)

    def least(share):
        """With S^4 or, as the kernel does not see its weight, without."""
        return real_space.variational_kernel(
            lambda w: pulled(jnp.stack([half, w[0], share * w[1]])),
            energy,
            (2, 4),
            (1, 2),
            [0.0, 0.0],
            loss=lambda match: match.kl,
        )

    whole, part = least(jnp.float64(1.0)), least(jnp.float64(0.0))
    assert part.parameters[1] == 0
    assert whole.loss < 1e-14
    assert abs(whole.matching.jensen_gap) < 1e-13
    log_cosh = np.log(np.cosh(0.5 * np.array([2.0, 4.0])))
    expected = -np.linalg.solve([[4, 16], [16, 256]], log_cosh)
    np.testing.assert_allclose(whole.parameters, expected, atol=1e-7)
    assert part.matching.kl > 1e-8
    np.testing.assert_allclose(part.matching.kl, part.matching.jensen_gap, rtol=1e-6)
    # no normalisation follows from KL: Delta F is minus the constant of ln rho
    np.testing.assert_allclose(whole.matching.free_energy_difference, -2 * np.log(2), atol=1e-10)


def test_a_free_energy_that_matches_leaves_kl(x64):
    """Delta F = 0 chooses one parameter of a kernel and says nothing of how rho varies."""
    found = real_space.variational_kernel(
        lambda a: rg.block_kernel(lambda h, s: 0.5 * (h * jnp.sum(s, dtype=jnp.int8)).astype(a.dtype) - a),
        ising(),
        (2, 4),
        (1, 2),
        0.3,
        loss=lambda m: m.free_energy_difference**2,
    )
    assert abs(found.matching.free_energy_difference) < 1e-10
    assert found.matching.kl > 0.01


def test_minima_move_as_the_implicit_function_says(x64):
    def best(coupling):
        found = real_space.variational_kernel(
            lambda w: pulled(jnp.stack([jnp.float64(0.5), w, jnp.float64(0.0)])),
            ising(coupling),
            (2, 4),
            (1, 2),
            -0.05,
            loss=lambda m: m.kl,
        )
        return found.parameters, found.loss

    program = jax.jit(lambda k: jax.jvp(best, (k,), (1.0,)))
    above, below = program(0.4 + 1e-4)[0], program(0.4 - 1e-4)[0]
    difference = [(a - b) / 2e-4 for a, b in zip(above, below, strict=True)]
    slopes = program(0.4)[1]
    np.testing.assert_allclose(slopes, difference, rtol=1e-5)
    assert abs(slopes[0]) > 1e-4


@pytest.mark.parametrize("is_double", [True, False])
def test_a_minimum_in_both_precisions(is_double):
    with jax.enable_x64(is_double):
        found = real_space.minimum(
            lambda x: jnp.sum(jnp.cosh(x["a"] - 1)) + (x["b"] + 2) ** 2, {"a": jnp.zeros(3), "b": 0.5}
        )
        np.testing.assert_allclose(found.parameters["a"], 1, atol=1e-12 if is_double else 1e-3)
        np.testing.assert_allclose(found.parameters["b"], -2, atol=1e-12 if is_double else 1e-3)


def test_a_slope_of_rounding_along_a_flat_direction_is_none():
    found = real_space.minimum(lambda x: 0.1 * (x[1] - 1) ** 2 + 3.5e-8 * x[0], jnp.float32([0.5, 0.2]))
    np.testing.assert_allclose(found.parameters, [0.5, 1], atol=1e-3)


def test_what_has_no_minimum_or_no_density_is_refused():
    with pytest.raises(FloatingPointError, match="objective: expected a minimum near the guess, got a gradient of"):
        real_space.minimum(lambda x: x, 0.3)
    with pytest.raises(FloatingPointError, match="objective: expected a minimum"):
        real_space.minimum(lambda x: -jnp.sum(x**2), jnp.zeros(2))  # a maximum, where the gradient vanishes
    with pytest.raises(ValueError, match="objective: expected a real scalar, got"):
        real_space.minimum(lambda x: x, [0.3, 0.2])
    with pytest.raises(ValueError, match=r"log_kernel: expected finite ln rho\(s\) .* got inf at spins \[1, 1\]"):
        rg.kernel_matching(
            lambda s: -0.1 * jnp.float32(s[0] * s[1]),
            (2,),
            lambda h, s: jnp.where(jnp.all(s > 0), jnp.inf, 0.0 * jnp.float32(h[0])),
            (1,),
        )
    with pytest.raises(ValueError, match="got -inf at spins"):
        rg.kernel_matching(
            lambda s: 0.0 * jnp.float32(s[0]), (2,), lambda h, s: jnp.where(s[0] > 0, 0.0, -jnp.inf), (1,)
        )
