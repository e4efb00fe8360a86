"""Exact decimations against sums over the spins that go."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, rg
from jaxrg.rg import real_space


@pytest.mark.parametrize("rescaling", [1, 2, 3, 6])
def test_the_free_energy_of_a_chain_in_a_field_is_kept(rescaling, x64):
    for coupling, field in ((0.4, 0.3), (-0.7, 0.2), (1.5, -0.8)):
        found = real_space.decimate_chain(coupling, field, rescaling)
        before = exact.chain_log_partition(coupling, field, 4 * rescaling)
        after = exact.chain_log_partition(found.coupling, found.field, 4) + 4 * found.constant
        np.testing.assert_allclose(after, before, rtol=1e-13)


def test_the_chain_in_float32_and_its_exponents():
    """Zero temperature and no field: y = 1 of the field, and K' = K - ln(b)/2 marginal at K = infinity."""
    found = real_space.decimate_chain(0.5, 0.0, 4)
    assert abs(np.tanh(found.coupling) - np.tanh(0.5) ** 4) < 1e-6
    strong = real_space.decimate_chain(30.0, 1e-3, 2)
    assert abs(strong.coupling - (30 - np.log(2) / 2)) < 1e-4
    slope = jax.grad(lambda field: real_space.decimate_chain(30.0, field, 2).field)(0.0)
    assert abs(slope - 2) < 1e-5


def test_half_of_the_square_lattice_is_summed_over(x64):
    """Four spins around one that goes: ln 2 cosh(K sum) as pairs, diagonals and a plaquette, state by state."""
    coupling = 0.4406868
    found = real_space.decimate_square(coupling)
    for a, b, c, d in itertools.product((-1, 1), repeat=4):
        # every side of a plaquette of remaining spins belongs to two of them
        sides, diagonals = a * b + b * c + c * d + d * a, a * c + b * d
        energy = found.nearest_neighbour / 2 * sides + found.next_nearest_neighbour * diagonals
        energy += found.plaquette * a * b * c * d + found.constant
        np.testing.assert_allclose(energy, np.log(2 * np.cosh(coupling * (a + b + c + d))), rtol=1e-13)
    np.testing.assert_allclose(found[:3], [0.27465, 0.13733, -0.03596], atol=5e-6)


def test_the_truncated_flow_of_the_square_lattice(x64):
    """K' = K_nn + K_nnn has its fixed point at 3/8 ln cosh 4K = K: 0.50698, and y_T = 1.07 from it."""

    def flow(coupling):
        found = real_space.decimate_square(coupling)
        return found.nearest_neighbour + found.next_nearest_neighbour

    found = rg.fixed_point(flow, 0.5)
    assert abs(found.couplings - 3 / 8 * np.log(np.cosh(4 * found.couplings))) < 1e-14
    assert abs(found.couplings - 0.50698) < 5e-6
    exponent = float(rg.scaling(found.matrix, jnp.sqrt(2.0)).exponents[0].real)
    assert abs(exponent - np.log2(1.5 * np.tanh(4 * found.couplings)) * 2) < 1e-12
    assert abs(exponent - 1.07) < 0.01


def test_what_is_no_coupling_is_refused():
    with pytest.raises(ValueError, match="rescaling: expected an integer >= 1, got 0"):
        real_space.decimate_chain(0.5, 0.0, 0)
    with pytest.raises(ValueError, match=r"field: expected shape \(\), got \(1,\)"):
        real_space.decimate_chain(0.5, [0.1])
    with pytest.raises(ValueError, match="coupling: expected finite values, got nan"):
        real_space.decimate_square(jnp.nan)
