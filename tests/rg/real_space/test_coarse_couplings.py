"""Maps of couplings by enumeration: against the general sum over states, published fixed points, and both bases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, rg
from jaxrg.rg import real_space

EVEN = ["nearest_neighbour", "next_nearest_neighbour", "plaquette"]
ALL = [*EVEN, "field", "corner"]
COUPLINGS = np.array([0.2, 0.1, -0.05, 0.1, 0.02])


def bases(names, *shapes, periodic=True):
    return [lattice.standard_operators(lattice.hypercubic(shape, periodic=periodic), names) for shape in shapes]


FINE, COARSE = bases(ALL, (4, 4), (2, 2))


def majority_flow(couplings):
    return real_space.coarse_couplings(couplings, *_even(), rg.majority_kernel(2), _even(2)).couplings


def _even(side=4):
    (basis,) = bases(EVEN, (side, side))
    return (basis,) if side == 4 else basis


CASES = {
    "majority, float64": (rg.majority_kernel, True),
    "majority, float32": (rg.majority_kernel, False),
    "kadanoff": (lambda: rg.kadanoff_kernel(0.7), True),
    "decimation": (rg.decimation_kernel, False),
}


@pytest.mark.parametrize("name", CASES)
def test_blocks_give_what_the_general_sum_gives(name):
    kernel, is_double = CASES[name]
    tolerance = 1e-12 if is_double else 2e-5
    with jax.enable_x64(is_double):
        block = kernel()
        fast = real_space.coarse_couplings(COUPLINGS, FINE, block, COARSE)
        model = models.OperatorModel(FINE, jnp.asarray(COUPLINGS, fast.couplings.dtype))
        slow = rg.project(exact.coarse_grain(model.hamiltonian, (4, 4), block, (2, 2)).hamiltonian, COARSE)
        assert fast.couplings.dtype == (jnp.float64 if is_double else jnp.float32)
    for got, expected in zip(fast, slow, strict=True):
        np.testing.assert_allclose(got, expected, atol=tolerance, rtol=tolerance)


def test_the_fixed_point_of_the_majority_rule_to_all_digits(x64):
    """4x4 to 2x2, random ties: K* = (0.29976, 0.08709, -0.00126), y_T = 0.92921, y_h = 1.82187, Kc = 0.41820."""

    def flow(k):
        return real_space.coarse_couplings(k, FINE, rg.majority_kernel(2), COARSE).couplings

    found = rg.fixed_point(flow, [0.3, 0.087, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(found.couplings, [0.29976, 0.08709, -0.00126, 0, 0], atol=6e-6)
    assert found.residual < 1e-13
    modes = rg.scaling(found.matrix, 2)
    np.testing.assert_allclose(modes.exponents[:2], [1.82187, 0.92921], atol=6e-6)
    assert modes.kinds == ("relevant",) * 2 + ("irrelevant",) * 3
    # Even couplings make no odd ones: the matrix falls apart.
    np.testing.assert_allclose(found.matrix[3:, :3], 0, atol=1e-13)
    np.testing.assert_allclose(found.matrix[:3, 3:], 0, atol=1e-13)
    even = found._replace(couplings=found.couplings[:3], matrix=found.matrix[:3, :3])
    critical = rg.critical_coupling(majority_flow, even, [1.0, 0.0, 0.0])
    assert abs(critical.value - 0.41820) < 5e-6
    assert critical.change < 1e-13


def test_the_lattice_gas_flows_to_the_same_fixed_point(x64):
    """On 2x2 the five operators are complete, so both bases are one map in other coordinates."""
    spins = real_space.coarse_couplings(COUPLINGS, FINE, rg.majority_kernel(2), COARSE)
    table = exact.energies(models.OperatorModel(FINE, jnp.asarray(COUPLINGS)).hamiltonian, (4, 4))
    occupied = rg.project_lattice_gas(table, FINE)
    assert occupied.residual < 1e-12
    gas = real_space.coarse_lattice_gas(occupied.couplings, FINE, rg.majority_kernel(2), COARSE)
    table = exact.energies(models.OperatorModel(COARSE, spins.couplings).hamiltonian, (2, 2))
    np.testing.assert_allclose(gas.couplings, rg.project_lattice_gas(table, COARSE).couplings, atol=1e-11)
    assert gas.residual < 1e-12
    assert spins.residual < 1e-12


def test_the_truncation_is_stated(x64):
    """A ring of eight decimated twice over: pairs are all there is. Of a smaller basis, the rest is the residual."""
    (fine,), (coarse,) = bases(["nearest_neighbour"], (8,)), bases(["nearest_neighbour"], (4,))
    found = real_space.coarse_couplings([0.7], fine, rg.decimation_kernel(2), coarse)
    np.testing.assert_allclose(found.couplings, [real_space.decimate_chain(0.7).coupling], rtol=1e-13)
    assert found.residual < 1e-14
    short = bases(["nearest_neighbour"], (2, 2))[0]
    cut = real_space.coarse_couplings(COUPLINGS[:3], *_even(), rg.majority_kernel(2), short)
    whole = real_space.coarse_couplings(COUPLINGS[:3], *_even(), rg.majority_kernel(2), _even(2))
    # four pairs in two directions each: the sums of the operators left out are orthogonal to those kept
    left = models.OperatorModel(_even(2), whole.couplings.at[0].set(0)).hamiltonian
    expected = np.std(exact.energies(left, (2, 2)))
    np.testing.assert_allclose(cut.residual, expected, rtol=1e-12)
    assert cut.residual > 0.01


def test_a_strip(x64):
    """2x8 to 1x4, open across: the exact free energy is that of the strip, and H' is on a ring."""
    open_across = {"periodic": (False, True)}
    (fine,) = bases(["nearest_neighbour", "next_nearest_neighbour"], (2, 8), **open_across)
    coarse = lattice.operators(lattice.hypercubic((1, 4), **open_across), {"next": [(0, 0), (0, 1)]})
    found = real_space.coarse_couplings([0.4, 0.0], fine, rg.majority_kernel(2), coarse)
    summed = exact.coarse_grain(
        models.OperatorModel(fine, jnp.array([0.4, 0.0])).hamiltonian, (2, 8), rg.majority_kernel(2), (1, 4)
    )
    np.testing.assert_allclose(found.couplings, rg.project(summed.hamiltonian, coarse).couplings, rtol=1e-12)
    assert found.residual < 0.1 * found.couplings[0]


def test_the_map_is_differentiable_with_respect_to_the_kernel(x64):
    fine, coarse = bases(["nearest_neighbour"], (8,), (4,))

    def coupling(p):
        return real_space.coarse_couplings([0.3], fine, rg.kadanoff_kernel(p), coarse).couplings[0]

    slope = jax.jit(jax.value_and_grad(coupling))
    difference = (slope(0.7 + 1e-5)[0] - slope(0.7 - 1e-5)[0]) / 2e-5
    assert difference > 0.01
    np.testing.assert_allclose(slope(0.7)[1], difference, rtol=1e-8)


def test_bad_input_is_refused_in_words(x64):
    kernel, ring, half = rg.majority_kernel(2), *bases(["nearest_neighbour"], (8,), (4,))
    with pytest.raises(ValueError, match=r"log_kernel: expected a finite rho\(s\) = sum_h T\(h\|s\) of every state"):
        real_space.coarse_couplings([0.2], ring, rg.block_kernel(lambda h, s: jnp.where(h > 0, jnp.inf, 0.0)), half)
    with pytest.raises(ValueError, match=r"log_kernel: expected a finite rho"):
        real_space.coarse_couplings([0.2], ring, lambda h, s: jnp.float32(jnp.nan), half)
    with pytest.raises(ValueError, match=r"and a state that leads to every h"):
        real_space.coarse_couplings([0.2], ring, rg.block_kernel(lambda h, s: jnp.where(h > 0, 0.0, -jnp.inf)), half)
    twice = lattice.operators(lattice.hypercubic((2, 2)), {"pair": [(0, 0), (1, 0)], "field": [(0, 0)]})
    third = lattice.Operators(twice.lattice, ("a", "b"), (twice.terms[0], twice.terms[0]))
    with pytest.raises(ValueError, match=r"operators: expected independent ones on \(2, 2\), got b = 1 a"):
        real_space.coarse_couplings(COUPLINGS, FINE, kernel, third)
    with pytest.raises(ValueError, match=r"couplings: expected shape \(5,\), got \(3,\)"):
        real_space.coarse_couplings(COUPLINGS[:3], FINE, kernel, COARSE)
    with pytest.raises(ValueError, match=r"coarse: expected shape \(2, 2\), got \(4, 4\)"):
        real_space.coarse_couplings(COUPLINGS, FINE, kernel, FINE)
    with pytest.raises(ValueError, match=r"fine: expected at most .* got 36"):
        real_space.coarse_couplings(COUPLINGS, bases(ALL, (6, 6))[0], kernel, bases(ALL, (3, 3))[0])
