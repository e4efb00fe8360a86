"""Two replicas as one model, and overlaps, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, stats
from tests.models.test_models import MODELS

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["ising", "gaussian", "dense", "sparse"])
def test_two_replicas_are_the_model_twice(name):
    model = MODELS[name]
    pair = models.TwoReplicas(model)
    spins = jnp.asarray(RANDOM.choice([-1, 1], pair.shape), jnp.int8)
    energies, fields, found = everything(pair, spins)
    np.testing.assert_allclose(energies, sum(float(model.hamiltonian(one)) for one in spins), rtol=1e-5)
    for field, one in zip(fields, spins, strict=True):
        np.testing.assert_allclose(field, model.local_field(one), rtol=1e-6)
    np.testing.assert_array_equal(pair.colours, np.stack([model.colours, model.colours]))
    np.testing.assert_allclose(found.energy, np.mean([model.observables(one).energy for one in spins]), rtol=1e-5)
    product = np.asarray(spins[0] * spins[1], int)
    assert float(found.overlap) == pytest.approx(product.mean())
    numbers = jnp.arange(1, product.size + 1, dtype=jnp.int32).reshape(model.shape)
    first, second = (np.ravel(part) for part in model.bond_ends(numbers))
    links = [product.ravel()[i - 1] * product.ravel()[j - 1] for i, j in zip(first, second, strict=True) if j > 0]
    assert float(found.link_overlap) == pytest.approx(np.mean(links), rel=1e-6)
    assert float(models.link_overlap(model, *spins)) == float(found.link_overlap)


@jax.jit
def everything(pair, spins):
    return pair.hamiltonian(spins), pair.local_field(spins), pair.observables(spins)


def test_an_overlap_is_that_of_wave_vector_zero():
    first, second = (jnp.asarray(RANDOM.choice([-1, 1], (4, 6)), jnp.int8) for _ in range(2))
    q = models.overlap(first, second)
    assert float(stats.correlations.structure_factor(first * second)[0, 0]) == pytest.approx(24 * float(q) ** 2)
    assert float(models.overlap(first, -first)) == -1


def test_what_has_no_overlap_is_refused():
    up = jnp.ones((4, 4), jnp.int8)
    with pytest.raises(ValueError, match="second: expected shape"):
        models.overlap(up, up[0])
    with pytest.raises(ValueError, match="model: expected a PairModel"):
        models.link_overlap(models.XY(lattice.hypercubic((4, 4)), 1.0), up, up)
    with pytest.raises(ValueError, match="model: expected a PairModel"):
        models.TwoReplicas(models.Potts(lattice.hypercubic((4, 4)), 3, 1.0))
