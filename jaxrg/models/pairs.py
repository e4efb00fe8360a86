"""Ising spins on any graph: a dense matrix of couplings, or a list of edges."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_parameter, check_count, check_shape, is_traced
from jaxrg.lattice import cluster_labels, greedy_colouring
from jaxrg.models.observables import reduced_observables


class _GraphPairs:
    """The bonds of a graph's edges ``[num_edges, 2]``; a base of dataclasses."""

    edge_list: Any
    num_sites: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.num_sites,)

    def bond_ends(self, values: Array) -> tuple[Array, Array]:
        """``[num_edges]`` values at both ends of every edge."""
        return values[self.edge_list[:, 0]], values[self.edge_list[:, 1]]

    def cluster_labels(self, active: Array) -> Array:
        """``[num_sites]`` int32, the smallest site of each cluster of active edges ``[num_edges]``."""
        return cluster_labels(active, self.edge_list, self.num_sites)

    observables = reduced_observables


@functools.partial(jax.tree_util.register_dataclass, data_fields=["couplings", "field"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class DensePairs(_GraphPairs):
    r"""Every pair of spins may interact.

    .. math:: H(s) = -\tfrac12 \sum_{ij} J_{ij} s_i s_j - \sum_i h_i s_i

    Attributes:
        couplings: J, ``[num_sites, num_sites]``, symmetric with a zero diagonal; `dense_pairs` checks it.
        field: h, scalar or ``[num_sites]``.
    """

    couplings: Array
    field: Array | float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "couplings", as_parameter("couplings", self.couplings))
        object.__setattr__(self, "field", as_parameter("field", self.field))

    @property
    def num_sites(self) -> int:
        return self.couplings.shape[-1]

    @property
    def edge_list(self) -> np.ndarray:
        """``[num_edges, 2]`` int32, every pair of sites once."""
        return np.stack(np.triu_indices(self.num_sites, 1), axis=1).astype(np.int32)

    @property
    def colours(self) -> np.ndarray:
        """Every site is a sublattice of its own."""
        return np.arange(self.num_sites, dtype=np.int32)

    @property
    def num_colours(self) -> int:
        return self.num_sites

    def bond_couplings(self) -> Array:
        """``[num_edges]`` J of every pair."""
        first, second = self.edge_list.T
        return self.couplings[first, second]

    def field_array(self) -> Array:
        """``[num_sites]`` field on every site."""
        return jnp.broadcast_to(jnp.asarray(self.field).astype(self.couplings.dtype), self.shape)

    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[num_sites]``."""
        check_shape("spins", spins, self.shape)
        values = spins.astype(self.couplings.dtype)
        return -0.5 * jnp.dot(values, jnp.dot(self.couplings, values)) - jnp.sum(self.field_array() * values)

    def local_field(self, spins: Array) -> Array:
        r"""``[num_sites]`` :math:`f_i = \sum_j J_{ij} s_j + h_i`."""
        check_shape("spins", spins, self.shape)
        return jnp.dot(self.couplings, spins.astype(self.couplings.dtype)) + self.field_array()


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["edge_list", "couplings", "field", "colours"],
    meta_fields=["num_sites", "num_colours"],
)
@dataclasses.dataclass(frozen=True)
class SparsePairs(_GraphPairs):
    r"""Spins on the edges of a graph; build it with `sparse_pairs`, which checks and colours the graph.

    .. math:: H(s) = -\sum_{e=(i,j)} J_e s_i s_j - \sum_i h_i s_i

    Attributes:
        edge_list: ``[num_edges, 2]`` int32.
        couplings: J, ``[num_edges]``.
        field: h, ``[num_sites]``.
        colours: ``[num_sites]`` int32, different across every edge.
        num_sites: static.
        num_colours: static.
    """

    edge_list: Array
    couplings: Array
    field: Array
    colours: Array
    num_sites: int
    num_colours: int

    def bond_couplings(self) -> Array:
        """``[num_edges]`` J of every edge."""
        return self.couplings

    def field_array(self) -> Array:
        """``[num_sites]`` field on every site."""
        return self.field

    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[num_sites]``."""
        check_shape("spins", spins, self.shape)
        values = spins.astype(self.couplings.dtype)
        first, second = self.bond_ends(values)
        return -jnp.dot(self.couplings, first * second) - jnp.dot(self.field, values)

    def local_field(self, spins: Array) -> Array:
        r"""``[num_sites]`` :math:`f_i = \sum_j J_{ij} s_j + h_i`."""
        check_shape("spins", spins, self.shape)
        values = spins.astype(self.couplings.dtype)
        first, second = self.edge_list[:, 0], self.edge_list[:, 1]
        total = self.field.at[first].add(self.couplings * values[second])
        return total.at[second].add(self.couplings * values[first])


def dense_pairs(couplings: Array, field: Array | float = 0.0) -> DensePairs:
    """A fully connected model after checking its matrix.

    Raises:
        ValueError: a matrix that is not square and symmetric with a zero diagonal, or a field of another length.
    """
    matrix = jnp.asarray(as_parameter("couplings", couplings))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"couplings: expected a square matrix, got shape {matrix.shape}")
    is_proper = is_traced(matrix) or (np.array_equal(matrix, matrix.T) and not np.any(np.diag(matrix)))
    if not is_proper:
        raise ValueError("couplings: expected a symmetric matrix with a zero diagonal, got one that is not")
    if np.shape(field) not in ((), matrix.shape[:1]):
        raise ValueError(f"field: expected a scalar or shape {matrix.shape[:1]}, got {np.shape(field)}")
    return DensePairs(matrix, field)


def sparse_pairs(
    edges: np.ndarray, couplings: Array | float, field: Array | float = 0.0, *, num_sites: int
) -> SparsePairs:
    """A model on any graph, its sites coloured greedily from the most connected down.

    Args:
        edges: ``[num_edges, 2]`` site indices.
        couplings: J, scalar or ``[num_edges]``.
        field: h, scalar or ``[num_sites]``.
        num_sites: number of spins.

    Raises:
        ValueError: edges of another shape, outside the sites or from a site to itself; couplings or field of another
            length.
    """
    check_count("num_sites", num_sites)
    pairs = np.asarray(edges)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(f"edges: expected integers of shape [num_edges, 2], got {pairs.dtype} of shape {pairs.shape}")
    if pairs.size and (pairs.min() < 0 or pairs.max() >= num_sites):
        raise ValueError(f"edges: expected sites 0 to {num_sites - 1}, got {pairs.min()} to {pairs.max()}")
    if np.any(pairs[:, 0] == pairs[:, 1]):
        raise ValueError(
            f"edges: expected two different sites, got site {pairs[pairs[:, 0] == pairs[:, 1]][0, 0]} twice"
        )
    strengths = jnp.asarray(as_parameter("couplings", couplings))
    fields = jnp.asarray(as_parameter("field", field)).astype(strengths.dtype)
    if strengths.shape not in ((), (len(pairs),)):
        raise ValueError(f"couplings: expected a scalar or shape ({len(pairs)},), got {strengths.shape}")
    if fields.shape not in ((), (num_sites,)):
        raise ValueError(f"field: expected a scalar or shape ({num_sites},), got {fields.shape}")
    colours = greedy_colouring(pairs, num_sites)
    return SparsePairs(
        jnp.asarray(pairs, jnp.int32),
        jnp.broadcast_to(strengths, (len(pairs),)),
        jnp.broadcast_to(fields, (num_sites,)),
        jnp.asarray(colours),
        num_sites,
        int(colours.max()) + 1,
    )
