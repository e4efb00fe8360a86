"""The fixed point of optimised loops: found by Newton's method, and left alone by a step of the flow."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact
from jaxrg.rg import tensor as networks

pytestmark = pytest.mark.usefixtures("x64")


def test_the_fixed_point_of_the_critical_ising_model():
    start = networks.loop_tnr(networks.ising_tensor(exact.critical_coupling), 4, 8).tensor
    found = networks.fixed_tensor(start, num_steps=8)
    residuals = np.asarray(found.residuals)
    assert residuals[0] > 1e-3
    assert residuals[-1] < 1e-12
    levels = networks.transfer_spectrum(found.tensor, 5, num_tensors=4)
    np.testing.assert_allclose(levels.dimensions, [0, 1 / 8, 1, 9 / 8, 9 / 8], rtol=0.005)
    # The energy is the relevant operator, sqrt(2)^(2 - 1).
    assert np.min(np.abs(np.asarray(found.eigenvalues) - np.sqrt(2))) < 0.01
    # A step of the flow, whose fit knows nothing of Newton's method, changes neither levels nor distance.
    flow = networks.loop_tnr(found.tensor, 4, 1)
    later = networks.transfer_spectrum(flow.tensor, 5, num_tensors=4)
    np.testing.assert_allclose(later.dimensions, levels.dimensions, atol=1e-6)
    np.testing.assert_allclose(flow.truncation[0], found.distance, rtol=1e-6)


def test_what_is_no_checkerboard_is_refused():
    plain = networks.ising_tensor(0.3)
    with pytest.raises(ValueError, match="board: expected a Checkerboard, as loop_tnr returns it, got a Tensor"):
        networks.fixed_tensor(plain)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"board.entries: expected entries that reflection in the first diagonal"):
        networks.fixed_tensor(networks.Checkerboard(plain.entries.at[0, 1, 0, 1].add(0.1), 0.0, 1.0))
    with pytest.raises(ValueError, match="expected legs of dimension 2 or more, got shape"):
        networks.fixed_tensor(networks.Checkerboard(jnp.ones((1,) * 4), 0.0, 1.0))
    with pytest.raises(ValueError, match="board: expected a Hessian of 32768 entries of halves within"):
        networks.fixed_tensor(networks.Checkerboard(jnp.ones((32,) * 4), 0.0, 1.0))
