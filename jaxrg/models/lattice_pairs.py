"""What models with a coupling on the bonds of a lattice share."""

import functools

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.lattice import Lattice, lattice_cluster_labels, shift, sublattice_colouring


@functools.cache
def _colours(lattice: Lattice) -> np.ndarray:
    return sublattice_colouring(lattice)


def _entry(table: np.ndarray, index: Array) -> Array:
    """An entry of a short table of integers: of constants, where an array would be memory that is read."""
    entry = jnp.int32(0)
    for number in np.flatnonzero(table).tolist():
        entry = jnp.where(index == number, jnp.int32(table[number]), entry)
    return entry


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

    def bond_ends(self, values: Array) -> tuple[Array, Array]:
        """``[num_directions, *shape]`` values at ``x`` and at ``x + b``; zero where that is beyond an open boundary."""
        there = jnp.stack([shift(self.lattice, values, bond) for bond in self.lattice.bonds])
        return jnp.broadcast_to(values, there.shape), there


class LatticeBonds(LatticeSites):
    """Bonds of a model on a lattice, as clusters are made of them."""

    @property
    def num_bonds_of_site(self) -> int:
        """Bonds that end at a site far from any open boundary."""
        return self.lattice.coordination_number

    def bond_of_site(self, site: Array, number: Array) -> tuple[Array, Array, Array]:
        """Of a site and the number of one of its bonds, int32 scalars: the site at its other end, the site where the
        bond starts, and its direction.

        Bonds 2 d and 2 d + 1 are those of direction d that start and that end at the site. The site itself stands for
        the other end of a bond that an open boundary lacks.
        """
        steps = np.stack([self.lattice.bonds, np.negative(self.lattice.bonds)], axis=1).reshape(-1, self.lattice.ndim)
        there, is_inside, stride = jnp.int32(0), jnp.bool_(True), self.lattice.num_sites
        for axis, side in enumerate(self.shape):
            stride //= side
            here = (site.astype(jnp.uint32) // stride % side).astype(jnp.int32)  # without a sign: a shift and a mask
            moved = here + _entry(steps[:, axis] % side, number)
            wrapped = jnp.where(moved >= side, moved - side, moved)
            if not self.lattice.periodic[axis]:
                is_inside &= here + _entry(steps[:, axis], number) == wrapped
            there += wrapped * stride
        there = jnp.where(is_inside, there, site)
        return there, jnp.where(number & 1 == 0, site, there), number >> 1

    def cluster_labels(self, active: Array) -> Array:
        """``[*shape]`` int32, the smallest site of each cluster of active bonds ``[num_directions, *shape]``."""
        return lattice_cluster_labels(self.lattice, active)


class LatticePairs(LatticeBonds):
    """Geometry, field and bonds of a model on a lattice; a base of dataclasses with these two fields."""

    field: Array | float

    def field_array(self) -> Array:
        """``[*shape]`` field on every site."""
        return jnp.broadcast_to(jnp.asarray(self.field), self.shape)

    def bond_products(self, spins: Array) -> list[Array]:
        """``s_x s_{x+b}`` for every direction of bond, zero where a bond would leave an open boundary."""
        return [spins * shift(self.lattice, spins, bond) for bond in self.lattice.bonds]
