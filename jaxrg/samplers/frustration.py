"""Frustration, seen on the host: whether one configuration satisfies all bonds of a model, and where clusters span."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.csgraph
from jax import Array

from jaxrg.base import PairModel

_MIN_SITES = 64  # fewer do not tell percolation from chance
_SPANNING = 0.5  # of the sites, in one cluster


def of_clusters(model: PairModel) -> str:
    """What is frustrated about a model and makes its clusters useless, in words; nothing where they are of use."""
    if not any(np.any(np.asarray(leaf) < 0) for leaf in jax.tree.leaves(model)):
        return ""
    with jax.ensure_compile_time_eval():
        couplings, first, second = (np.ravel(part) for part in _bonds_and_ends(model))
    is_there = couplings != 0
    couplings, ends = couplings[is_there], (first[is_there], second[is_there])
    size = int(np.prod(model.shape))
    is_antiferromagnet = not np.any(couplings > 0)
    if not (is_antiferromagnet or (size >= _MIN_SITES and _spans(couplings, ends, size))):
        return ""
    if not _is_frustrated(couplings, ends, size):
        return ""
    return "a frustrated antiferromagnet" if is_antiferromagnet else "frustrated bonds strong enough to percolate"


@jax.jit
def _bonds_and_ends(model: PairModel) -> tuple[Array, Array, Array]:
    """Couplings of all bonds, and the sites at their ends."""
    sites = jnp.arange(int(np.prod(model.shape)), dtype=jnp.int32).reshape(model.shape)
    return model.bond_couplings(), *model.bond_ends(sites)


def _components(first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
    graph = scipy.sparse.coo_array((np.ones(len(first), bool), (first, second)), (size, size))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def _is_frustrated(couplings: np.ndarray, ends: tuple[np.ndarray, np.ndarray], size: int) -> bool:
    """Whether a cycle has an odd number of bonds that favour unequal spins."""
    # Two copies of the graph, joined crosswise by such bonds: an odd cycle leads from a site to its own copy.
    crossing = size * (couplings < 0)
    first, second = ends
    both = np.concatenate([first, first + size]), np.concatenate([second + crossing, second + (size - crossing)])
    component = _components(*both, 2 * size)
    return bool(np.any(component[:size] == component[size:]))


def _spans(couplings: np.ndarray, ends: tuple[np.ndarray, np.ndarray], size: int) -> bool:
    """Whether bonds as dense as those of a glass at high temperature, one draw of them, join half of the sites.

    A bond is satisfied with probability 1 / (1 + exp(-2 abs(J))) and then joins with 1 - exp(-2 abs(J)): tanh abs(J).
    """
    is_open = np.random.default_rng(0).random(couplings.size) < np.tanh(np.abs(couplings))
    first, second = ends
    component = _components(first[is_open], second[is_open], size)
    return bool(np.bincount(component).max() >= _SPANNING * size)
