"""What models with a coupling on the bonds of a lattice share."""

import functools

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.lattice import Lattice, lattice_cluster_labels, shift, sublattice_colouring


@functools.cache
def _colours(lattice: Lattice) -> np.ndarray:
    return sublattice_colouring(lattice)


class LatticeSites:
    """Geometry and sublattices of a model on a lattice."""

    lattice: Lattice

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a configuration."""
        return self.lattice.shape

    @property
    def colours(self) -> np.ndarray:
        """``[*shape]`` sublattice of each site; sites of one sublattice do not interact."""
        return _colours(self.lattice)

    @property
    def num_colours(self) -> int:
        return int(self.colours.max()) + 1


class LatticePairs(LatticeSites):
    """Geometry, field and bonds of a model on a lattice; a base of dataclasses with these two fields."""

    field: Array | float

    def field_array(self) -> Array:
        """``[*shape]`` field on every site."""
        return jnp.broadcast_to(jnp.asarray(self.field), self.shape)

    def bond_products(self, spins: Array) -> list[Array]:
        """``s_x s_{x+b}`` for every direction of bond, zero where a bond would leave an open boundary."""
        return [spins * shift(self.lattice, spins, bond) for bond in self.lattice.bonds]

    def bond_ends(self, values: Array) -> tuple[Array, Array]:
        """``[num_directions, *shape]`` values at ``x`` and at ``x + b``; zero where that is beyond an open boundary."""
        there = jnp.stack([shift(self.lattice, values, bond) for bond in self.lattice.bonds])
        return jnp.broadcast_to(values, there.shape), there

    def cluster_labels(self, active: Array) -> Array:
        """``[*shape]`` int32, the smallest site of each cluster of active bonds ``[num_directions, *shape]``."""
        return lattice_cluster_labels(self.lattice, active)
