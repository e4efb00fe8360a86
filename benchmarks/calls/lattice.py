"""Geometry, colourings, clusters, blocks and operators."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from jaxrg import lattice

SQUARE = lattice.hypercubic((4, 6))
BASIS = lattice.standard_operators(SQUARE)
EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [1, 3]], np.int32)


def bonds(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).random(shape) < 0.4)


def values(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def spins(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).choice([-1.0, 1.0], shape), jnp.float32)


CALLS = [
    Call("lattice.hypercubic", lambda seed: {"shape": (4, 6)}),
    Call("lattice.triangular", lambda seed: {"shape": (4, 6)}),
    Call("lattice.laplacian_eigenvalues", lambda seed: {"lattice": SQUARE}),
    Call("lattice.inside", lambda seed: {"lattice": SQUARE, "offset": (1, 0)}),
    Call("lattice.shift", lambda seed: {"lattice": SQUARE, "values": values(seed, 4, 6), "offset": (1, 0)}),
    Call("lattice.block_shape", lambda seed: {"shape": (4, 6), "block": 2}),
    Call("lattice.to_blocks", lambda seed: {"values": values(seed, 4, 6), "block": 2}),
    Call("lattice.from_blocks", lambda seed: {"blocks": values(seed, 2, 3, 4), "block": 2}),
    Call("lattice.checkerboard", lambda seed: {"lattice": SQUARE}),
    Call("lattice.sublattice_colouring", lambda seed: {"lattice": lattice.triangular((5, 7)), "max_colours": 6}),
    Call("lattice.greedy_colouring", lambda seed: {"edges": EDGES, "num_sites": 4}),
    Call(
        "lattice.check_colouring",
        lambda seed: {"lattice": SQUARE, "colours": lattice.checkerboard(SQUARE)},
    ),
    Call("lattice.cluster_labels", lambda seed: {"active": bonds(seed, 5), "edges": EDGES, "num_sites": 4}),
    Call("lattice.square_cluster_labels", lambda seed: {"right": bonds(seed, 4, 6), "down": bonds(seed + 1, 4, 6)}),
    Call(
        "lattice.lattice_cluster_labels",
        lambda seed: {"lattice": lattice.triangular((4, 6)), "active": bonds(seed, 3, 4, 6)},
    ),
    Call("lattice.point_group", lambda seed: {"lattice": SQUARE}),
    Call(
        "lattice.random_symmetry",
        lambda seed: {"key": jax.random.key(seed), "lattice": SQUARE, "values": values(seed, 3, 4, 6)},
    ),
    Call("lattice.operators", lambda seed: {"lattice": SQUARE, "offset_sets": {"bond": [(0, 0), (1, 0)]}}),
    Call("lattice.standard_operators", lambda seed: {"lattice": SQUARE}),
    Call("lattice.evaluate", lambda seed: {"basis": BASIS, "spins": spins(seed, 4, 6)}),
]
