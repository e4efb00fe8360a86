"""Words about frustration; the distributions of cluster samplers are held in tests/contracts."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers
from jaxrg.base import Status
from jaxrg.samplers.spins import status_of_leaves

TRIANGULAR = lattice.triangular((4, 4))


@pytest.mark.parametrize("make", [samplers.wolff, samplers.swendsen_wang])
@pytest.mark.parametrize(
    "model",
    [
        models.Ising(TRIANGULAR, -0.5),
        models.Ising(lattice.hypercubic((5,)), -0.5),
        models.dense_pairs(jnp.asarray(np.eye(3) - 1)),
    ],
)
def test_a_frustrated_antiferromagnet_is_warned_of(make, model):
    with pytest.warns(UserWarning, match="model: expected bonds") as said:
        make(model)
    assert len(said) == 1
    assert "model: expected bonds that one configuration satisfies, got a frustrated" in str(said[0].message)


@pytest.mark.parametrize(
    "model",
    [
        models.Ising(TRIANGULAR, 0.5, -0.1),
        models.Ising(lattice.hypercubic((4, 6)), -0.5),
        models.Ising(lattice.hypercubic((3, 5), periodic=False), -0.5),
        models.Ising(TRIANGULAR, [-0.5, -0.5, 0.0]),
    ],
)
def test_other_models_are_taken_without_a_word(model):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        samplers.wolff(model)
    assert said == []


def test_couplings_that_are_no_floats_have_a_status_too():
    assert int(status_of_leaves({"coupling": jnp.int32(1)})) == Status.OK
    assert int(status_of_leaves({"coupling": jnp.int32(1), "field": jnp.array([0.0, jnp.inf])})) == Status.NOT_FINITE
