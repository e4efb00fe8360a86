"""Critical couplings on an axis against maps whose critical surface is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rg


def wilson(k):
    """Wilson's example: decimation of the square lattice to second order in K."""
    return jnp.stack([2 * k[0] ** 2 + k[1], k[0] ** 2])


def followed(coupling):
    k, second = coupling, 0.0
    for _ in range(200):
        k, second = 2 * k**2 + second, k**2
        if not 1e-3 < k < 10:
            break
    return k > 1


@pytest.mark.parametrize(("is_double", "tolerance"), [(True, 1e-14), (False, 1e-6)])
def test_the_critical_coupling_separates_the_phases(is_double, tolerance):
    low, high = 0.3, 0.5
    while high - low > 1e-15:
        middle = (low + high) / 2
        low, high = (low, middle) if followed(middle) else (middle, high)
        if middle in (low, high) and high - low < 2e-16:
            break
    with jax.enable_x64(is_double):
        fixed = rg.fixed_point(wilson, [0.3, 0.1])
        np.testing.assert_allclose(fixed.couplings, [1 / 3, 1 / 9], rtol=10 * tolerance)
        found = rg.critical_coupling(wilson, fixed, [1.0, 0.0])
        assert abs(found.value - low) < 4 * tolerance
        assert found.change < 10 * tolerance
        doubled = rg.critical_coupling(wilson, fixed, [2.0, 0.0])
        assert abs(2 * doubled.value - found.value) < 4 * tolerance


def test_what_has_no_critical_coupling_is_refused():
    fixed = rg.fixed_point(wilson, [0.3, 0.1])
    with pytest.raises(ValueError, match=r"direction: expected couplings like the fixed point's, \[\(2,\)\], got"):
        rg.critical_coupling(wilson, fixed, [1.0])
    with pytest.raises(ValueError, match=r"fixed: expected a FixedPoint of rg.fixed_point, got an array"):
        rg.critical_coupling(wilson, fixed.couplings, [1.0, 0.0])
    stable = fixed._replace(matrix=0.1 * fixed.matrix)
    with pytest.raises(ValueError, match=r"fixed: expected one relevant eigenvalue, got"):
        rg.critical_coupling(wilson, stable, [1.0, 0.0])
    with pytest.raises(FloatingPointError, match=r"direction: expected a line from which the flow comes to the fixed"):
        rg.critical_coupling(lambda k: k + 1, fixed, [1.0, 0.0])
    with pytest.raises(ValueError, match=r"direction: expected one that leaves the critical surface, got one along it"):
        rg.critical_coupling(wilson, fixed, [0.0, 0.0])
