"""Trajectories pinned bit for bit: what a key and a start give must not move under any change of the code."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, random, rbm, samplers

SQUARE = lattice.hypercubic((6, 8))
TRIANGLES = np.array([[0, 1], [1, 2], [2, 0], [2, 3], [3, 4], [4, 2]])
MODELS = {
    "ising": models.Ising(SQUARE, 0.42, 0.05),
    "glass": models.plus_minus_glass(jax.random.key(5), SQUARE, 0.6),
    "triangular": models.Ising(lattice.triangular((4, 6)), 0.12),
    "potts": models.Potts(SQUARE, 3, 0.9, [0.05, 0.0, 0.0]),
    "potts_free": models.Potts(SQUARE, 3, 0.9),
    "graph": models.sparse_pairs(TRIANGLES, [0.5, -0.3, 0.2, 0.7, 0.4, -0.6], 0.1, num_sites=5),
}
# Digests of the spins after 24 steps, and of the configurations after steps 15, 18, 21 and 24.
PINS = {
    ("heat_bath", "ising"): ("e2845e0f3ca19310", "7da4c3f0d24e9a9f"),
    ("heat_bath", "glass"): ("9237d97f9695ddfc", "81466a9643e71919"),
    ("heat_bath", "triangular"): ("eca01ed5b7d9fc0d", "a4c52aac9df5d5f7"),
    ("heat_bath", "graph"): ("79fc611132dae9bf", "48d9623a6e0e6cb7"),
    ("metropolis", "ising"): ("a2d951c8b31af31c", "8370d76c0e0d368d"),
    ("metropolis", "glass"): ("bdbeceb99731c74b", "3ae9d2d5f044ed98"),
    ("metropolis", "triangular"): ("d48a4066d5b8a49d", "6523cb05efd28f8e"),
    ("metropolis", "graph"): ("2c6ba56915b6d47c", "6e4dd902a7791cbc"),
    ("random_scan_metropolis", "ising"): ("36f4e474558de916", "cdbfcec30817a73a"),
    ("random_scan_metropolis", "glass"): ("4529fd8079d455dc", "b64a42bd9456e5a5"),
    ("random_scan_metropolis", "triangular"): ("ea23504f99c494b5", "b2a9b187f0bcef0b"),
    ("random_scan_metropolis", "graph"): ("2405f9eca6dbd8d9", "cf4d8e1adb47b3fc"),
    ("swendsen_wang", "ising"): ("982e50962c47c3ce", "446065a935647f74"),
    ("swendsen_wang", "glass"): ("374f4eb53d9278aa", "de6524254a4ad117"),
    ("swendsen_wang", "triangular"): ("dce63e2dce71447f", "87179cd58b2d86d8"),
    ("swendsen_wang", "graph"): ("4c2203b1dbc9aa33", "332947f9dca04c35"),
    ("wolff", "ising"): ("62efa35cadb82ced", "8f83f7d82d844b59"),
    ("wolff", "glass"): ("e1929e1435db9b22", "d711c14c9a7c4a60"),
    ("wolff", "triangular"): ("03f8a290bd18f4c6", "7a7fb61c3e645d1e"),
    ("wolff", "graph"): ("6315fc47e0eca5c9", "2a3b438c5f7b747c"),
    ("heat_bath", "potts"): ("d8e21ebea66f6a5a", "4985b16dd950536a"),
    ("metropolis", "potts"): ("8e7bd658388dfa80", "39e6dd978b7600b1"),
    ("random_scan_metropolis", "potts"): ("50d87e15ca15fe75", "19cf78512e9b1581"),
    ("swendsen_wang", "potts"): ("7f6df02e52c3fdab", "974b36cd17845de8"),
    ("wolff", "potts"): ("fbe829f0b1543e07", "fa72985ed9e1e38d"),
    ("wolff_embedding", "potts"): ("01c88af0015f7556", "48e54b79e3a3fae0"),
    ("multispin_heat_bath", "ising"): ("1e9da1318cc495f5", "d638b241d4fcb6d3"),
    ("multispin_metropolis", "ising"): ("03b9112fc3e26753", "d4dfabff02212337"),
    ("multispin_metropolis", "potts_free"): ("9012e6e9938bc859", "7e9e0dc1c47eb4f0"),
}
STRIPS_PIN = "7ed845cdaac7cc63"
GIBBS_PIN = "19100e44b8d70604"


def digest(*arrays) -> str:
    found = hashlib.blake2b(digest_size=8)
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


# Every program is compiled for itself: each kernel once by default, and both ways of labelling clusters.
TWINS = {"swendsen_wang", "multispin_metropolis"}  # of wolff on a lattice, of the packed heat bath
DEFAULT = {(sampler, model) for sampler, model in PINS if model == "ising" and sampler not in TWINS}
DEFAULT |= {("swendsen_wang", "graph")}


@pytest.mark.parametrize(
    ("sampler", "model"), [pin if pin in DEFAULT else pytest.param(*pin, marks=pytest.mark.slow) for pin in PINS]
)
def test_trajectory_is_the_pinned_one(sampler, model):
    options = {"num_chains": 32} if sampler.startswith("multispin") else {}
    chain = getattr(samplers, sampler)(MODELS[model], **options)
    state = chain.init(jax.random.key(7))
    for _ in range(2):
        state, trace, _ = samplers.run(jax.random.key(8), samplers.thin(chain, 3), state, 4, observe=jnp.asarray)
    assert trace.shape == (options.get("num_chains", 1), 4, *MODELS[model].shape)
    assert trace.dtype == np.int8
    # The pins hash the samples in order, in each of them the chains in order.
    assert (digest(*jax.tree.leaves(state.spins)), digest(np.swapaxes(trace, 0, 1))) == PINS[sampler, model]


@pytest.mark.slow
def test_trajectory_of_strips_and_light_bits_is_the_pinned_one():
    model = models.plus_minus_glass(jax.random.key(5), lattice.hypercubic((64, 4)), 0.6)
    chain = samplers.multispin_heat_bath(model, num_chains=1, generator=random.light_bits)
    state = samplers.run(jax.random.key(8), chain, chain.init(jax.random.key(7)), 12).state
    assert digest(*state.spins) == STRIPS_PIN


def test_gibbs_trajectory_is_the_pinned_one():
    chain = rbm.gibbs_sampler(rbm.init(jax.random.key(1), 10, 6, scale=0.5))
    run = samplers.run(jax.random.key(8), chain, chain.init(jax.random.key(7)), 12)
    assert digest(np.asarray(run.state.visible, np.int8)) == GIBBS_PIN
