"""Ising spins on any graph: a dense matrix of couplings, or a list of edges."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_array, as_count, as_integers, check_shape, is_traced
from jaxrg.lattice import cluster_labels, greedy_colouring
from jaxrg.lattice.graphs import as_edges
from jaxrg.models.construction import as_couplings, of_spins, pytree
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

    observables = of_spins(reduced_observables)


@pytree(data_fields=("couplings", "field"), meta_fields=())
@dataclasses.dataclass(frozen=True)
class DensePairs(_GraphPairs):
    r"""Every pair of spins may interact.

    .. math:: H(s) = -\tfrac12 \sum_{ij} J_{ij} s_i s_j - \sum_i h_i s_i

    Attributes:
        couplings: J, ``[num_sites, num_sites]``, symmetric with a zero diagonal. Of a traced matrix, whose entries
            cannot be seen, the symmetric part without the diagonal is kept, which is all that P(s) depends on.
        field: h, scalar or ``[num_sites]``.

    Raises:
        ValueError: a matrix that is not square, finite and symmetric with a zero diagonal, or a field of another shape.
    """

    couplings: Array
    field: Array | float = 0.0

    def __post_init__(self) -> None:
        shape = as_array("couplings", self.couplings).shape
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"couplings: expected a square matrix, got shape {shape}")
        size = shape[0]
        matrix = as_couplings("couplings", self.couplings, (size, size))
        if is_traced(matrix):
            matrix = jnp.where(np.eye(size, dtype=bool), 0, 0.5 * (matrix + matrix.T))
        elif not np.array_equal(matrix, matrix.T) or np.any(np.diag(matrix)):
            raise ValueError("couplings: expected a symmetric matrix with a zero diagonal, got one that is not")
        object.__setattr__(self, "couplings", matrix)
        object.__setattr__(self, "field", as_couplings("field", self.field, (), (size,)))

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

    @of_spins
    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[num_sites]``."""
        values = spins.astype(self.couplings.dtype)
        return -0.5 * jnp.dot(values, jnp.dot(self.couplings, values)) - jnp.sum(self.field_array() * values)

    @of_spins
    def local_field(self, spins: Array) -> Array:
        r"""``[num_sites]`` :math:`f_i = \sum_j J_{ij} s_j + h_i`."""
        return jnp.dot(self.couplings, spins.astype(self.couplings.dtype)) + self.field_array()


@pytree(data_fields=("edge_list", "couplings", "field", "colours"), meta_fields=("num_sites", "num_colours"))
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

    Raises:
        ValueError: edges outside the sites or from a site to itself; couplings or a field that are no finite numbers or
            not one for each edge or site; colours that are equal across an edge or not below ``num_colours``.
    """

    edge_list: Array
    couplings: Array
    field: Array
    colours: Array
    num_sites: int
    num_colours: int

    def __post_init__(self) -> None:
        num_sites, num_colours = as_count("num_sites", self.num_sites), as_count("num_colours", self.num_colours)
        edges = as_edges("edge_list", self.edge_list, num_sites, has_loops=False)
        colours = as_integers("colours", self.colours, minimum=0, maximum=num_colours - 1)
        check_shape("colours", colours, (num_sites,))
        if not is_traced((edges, colours)):
            first, second = np.asarray(colours)[np.asarray(edges).T]
            if np.any(first == second):
                edge = np.asarray(edges)[first == second][0].tolist()
                raise ValueError(f"colours: expected different ones across every edge, got one on edge {edge}")
        couplings = as_couplings("couplings", self.couplings, edges.shape[:1])
        field = as_couplings("field", self.field, (num_sites,))
        checked = (edges, couplings, field, colours, num_sites, num_colours)
        for entry, value in zip(dataclasses.fields(self), checked, strict=True):
            object.__setattr__(self, entry.name, value)

    def bond_couplings(self) -> Array:
        """``[num_edges]`` J of every edge."""
        return self.couplings

    def field_array(self) -> Array:
        """``[num_sites]`` field on every site."""
        return self.field

    @of_spins
    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[num_sites]``."""
        values = spins.astype(self.couplings.dtype)
        first, second = self.bond_ends(values)
        return -jnp.dot(self.couplings, first * second) - jnp.dot(self.field, values)

    @of_spins
    def local_field(self, spins: Array) -> Array:
        r"""``[num_sites]`` :math:`f_i = \sum_j J_{ij} s_j + h_i`."""
        values = spins.astype(self.couplings.dtype)
        first, second = self.edge_list[:, 0], self.edge_list[:, 1]
        total = self.field.at[first].add(self.couplings * values[second])
        return total.at[second].add(self.couplings * values[first])


def dense_pairs(couplings: Array, field: Array | float = 0.0) -> DensePairs:
    """A fully connected model, `DensePairs`, of its matrix.

    Raises:
        ValueError: a matrix that is not square, finite and symmetric with a zero diagonal, or a field of another shape.
    """
    return DensePairs(couplings, field)


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
        ValueError: edges of another shape, outside the sites or from a site to itself; couplings or a field that are no
            finite numbers or have another shape.
    """
    size = as_count("num_sites", num_sites)
    pairs = np.asarray(as_edges("edges", edges, size, has_loops=False), np.int32)
    strengths = as_couplings("couplings", couplings, (), (len(pairs),))
    fields = as_couplings("field", field, (), (size,))
    colours = greedy_colouring(pairs, size)
    return SparsePairs(
        jnp.asarray(pairs),
        jnp.broadcast_to(strengths, (len(pairs),)),
        jnp.broadcast_to(fields.astype(strengths.dtype), (size,)),
        jnp.asarray(colours),
        size,
        int(colours.max()) + 1,
    )
