"""Words about frustration; the distributions of cluster samplers are held in tests/contracts."""

import warnings

import jax
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


SIGNS = np.random.default_rng(0).choice([-1.0, 1.0], size=(32, 32))
MATTIS = np.stack([SIGNS * np.roll(SIGNS, -1, axis) for axis in (0, 1)])  # of either sign, and all can be satisfied
GLASS = models.plus_minus_glass(jax.random.key(0), lattice.hypercubic((32, 32)), 1.0)


@pytest.mark.parametrize("make", [samplers.wolff, samplers.swendsen_wang])
def test_a_glass_is_warned_of_where_its_bonds_percolate(make):
    """At tanh K = 1/2 on the square lattice, K = .549, of which 32 x 32 sites are unsure by a tenth."""
    with pytest.warns(UserWarning, match="got frustrated bonds strong enough to percolate"):
        sampler = make(models.Glass(GLASS.lattice, GLASS.bonds, 0.65))
    run = samplers.run(jax.random.key(1), samplers.thin(sampler, 20), sampler.init(jax.random.key(2)), 50)
    size = run.info.largest_cluster if make is samplers.swendsen_wang else run.info.cluster_size
    assert np.median(size[0, 10:]) > 0.4 * GLASS.bonds[0].size


@pytest.mark.parametrize(
    "model",
    [
        models.Glass(GLASS.lattice, GLASS.bonds, 0.48),
        models.Glass(GLASS.lattice, MATTIS, 1.0),
        models.Glass(GLASS.lattice, -jnp.ones((2, 32, 32)), 1.0),
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
