"""Edges of any graph, as a user gives them."""

from typing import Any

import jax
import numpy as np
from jax import Array

from jaxrg.checks import as_integers, is_traced

MAX_SITES = 2**31 - 1  # that an int32 can number


def as_edges(name: str, edges: Any, num_sites: int, *, has_loops: bool) -> Array:
    """``[num_edges, 2]`` integers, the sites each edge joins.

    Raises:
        ValueError: no integers, another shape, sites that are none, or an edge from a site to itself unless
            ``has_loops``, as far as the values can be seen.
    """
    if is_traced(edges):
        pairs = as_integers(name, edges)
    else:
        with jax.ensure_compile_time_eval():  # edges met inside a traced function can still be seen
            pairs = as_integers(name, edges if np.size(edges) else np.zeros((0, 2), np.int32))
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"{name}: expected integers of shape [num_edges, 2], got {pairs.dtype} of {pairs.shape}")
    if pairs.shape[0] and not is_traced(pairs):
        host = np.asarray(pairs)
        lowest, highest = int(host.min()), int(host.max())
        if lowest < 0 or highest >= num_sites:
            raise ValueError(f"{name}: expected sites 0 to {num_sites - 1}, got {lowest} to {highest}")
        loops = host[host[:, 0] == host[:, 1]]
        if len(loops) and not has_loops:
            raise ValueError(f"{name}: expected two different sites, got site {loops[0, 0]} twice")
    return pairs
