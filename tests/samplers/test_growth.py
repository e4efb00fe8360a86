"""A cluster that is grown is the one that labelling finds, bit for bit, wherever the growth is cut off."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers, stats
from jaxrg.samplers import clusters, growth

MODELS = {
    "open square in a field": models.Ising(lattice.hypercubic((3, 4), periodic=False), 0.4, 0.1),
    "double bonds": models.Ising(lattice.hypercubic((2, 2)), 0.3),
    "glass": models.gaussian_glass(jax.random.key(6), lattice.hypercubic((4, 5)), 0.6),
    "triangular, either sign": models.Ising(lattice.triangular((4, 6)), [0.3, 0.2, -0.1], 0.05),
    "potts in a field": models.Potts(lattice.hypercubic((4, 5), periodic=(True, False)), 3, 0.9, [0.2, 0.0, -0.1]),
    "potts on triangles": models.Potts(lattice.triangular((4, 6)), 5, 0.8),
    "cube": models.Ising(lattice.hypercubic((4, 3, 4)), 0.25),
}


@pytest.mark.parametrize("name", MODELS)
def test_any_bound_gives_the_cluster_of_labels(name):
    model = MODELS[name]
    by_labels = jax.jit(clusters._by_labels)
    bounds = (4, 2**31) if name == "cube" else (4,)
    by_growth = [jax.jit(functools.partial(clusters._by_growth, bound=bound)) for bound in bounds]
    values = np.arange(model.num_states) if "potts" in name else np.array([-1, 1])
    configurations = np.random.default_rng(1).choice(values.astype(np.int8), (50, *model.shape))
    sizes = set()
    for number, spins in enumerate(configurations):
        key = jax.random.key(number)
        wanted = by_labels(model, key, jnp.asarray(spins))
        for found in (grown(model, key, jnp.asarray(spins)) for grown in by_growth):
            jax.tree.map(np.testing.assert_array_equal, found, wanted)
        sizes.add(int(wanted.size))
    assert min(sizes) == 1
    assert max(sizes) >= 4


def test_a_chain_alone_and_one_of_many_flip_the_same_clusters():
    sampler = samplers.wolff(models.Ising(lattice.hypercubic((6, 6)), 0.44))  # one is grown, many are labelled
    start = sampler.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 3)
    many = jax.jit(jax.vmap(sampler.step, (0, None)))(keys, start)
    for chain, key in enumerate(keys):
        jax.tree.map(
            lambda a, b, c=chain: np.testing.assert_array_equal(a, b[c]), jax.jit(sampler.step)(key, start), many
        )


@pytest.mark.parametrize("num_sites", [1, 3, 12, 2**20 + 7])
def test_every_site_is_as_likely_to_be_the_first(num_sites):
    keys = jax.random.split(jax.random.key(2), 60_000)
    sites = np.asarray(jax.jit(jax.vmap(lambda key: growth.first_site(key, num_sites)))(keys))
    assert sites.min() >= 0
    assert sites.max() < num_sites
    bins = min(num_sites, 10)
    counts = np.bincount(sites.astype(np.int64) * bins // num_sites, minlength=bins)
    edges = -(-np.arange(bins + 1) * num_sites // bins)
    if bins > 1:
        assert stats.chi_squared(jnp.asarray(counts), jnp.asarray(np.diff(edges) / num_sites)).p_value > 1e-4


@models.pytree(data_fields=("coupling", "field"), meta_fields=("lattice", "num_states"))
@dataclasses.dataclass(frozen=True)
class Stronger(models.Potts):
    """Bonds of its own, and an inherited coupling that says nothing of them."""

    def bond_couplings(self):
        return jnp.where(self.lattice.bonds_inside(), jnp.float32(5), 0)


def test_a_class_that_overrides_its_bonds_is_not_grown_by_those_of_another():
    model = Stronger(lattice.hypercubic((4, 4)), 3, 0.0)
    assert growth.can_grow(models.Potts(model.lattice, 3, 0.5))
    assert not growth.can_grow(model)
    sampler = samplers.wolff(model)
    run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 5)
    np.testing.assert_array_equal(run.info.cluster_size, 16)
