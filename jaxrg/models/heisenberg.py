"""The Heisenberg model: unit vectors of three components."""

import dataclasses
import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxrg.lattice import Lattice
from jaxrg.models.construction import of_sites, pytree
from jaxrg.models.fields import Reflection, ahead, alike
from jaxrg.models.sites import Sphere
from jaxrg.models.vectors import LatticeVectors

# Of the spiral on which mirrors are drawn: the number that chooses one has 24 bits, half of them for either angle.
_WINDINGS = 4096


class VectorObservables(NamedTuple):
    """What a model of vectors reports of one configuration, per site."""

    energy: Array  # [] in units of J
    magnetization: Array  # [n] mean of the vectors


@pytree(data_fields=("coupling", "field"), meta_fields=("lattice",))
@dataclasses.dataclass(frozen=True)
class Heisenberg(LatticeVectors):
    r"""Classical Heisenberg spins, O(3), with reduced couplings, beta absorbed.

    .. math:: S(u) = -K \sum_{b,x} u_x\!\cdot u_{x+b} - \sum_x h_x\!\cdot u_x, \qquad |u_x| = 1

    A configuration is ``[*lattice.shape, 3]`` unit vectors, with the uniform measure on the sphere. Its components are
    not free, so it is nothing for `hmc`. ``observables`` are the energy in units of J, without the field's part, and
    the mean vector.

    Attributes:
        lattice: geometry, static.
        coupling: K = J/kT, scalar.
        field: h, a vector ``[3]`` for all sites or ``[*lattice.shape, 3]`` for each; None for no field.

    Raises:
        ValueError: no Lattice, or couplings that are no finite numbers or have another shape.

    Example:
        >>> from jaxrg import lattice
        >>> model = Heisenberg(lattice.hypercubic((4, 4)), 0.5)
        >>> up = jnp.zeros((4, 4, 3)).at[..., 2].set(1.0)
        >>> float(model.action(up)), float(model.observables(up).energy)
        (-16.0, -2.0)
    """

    lattice: Lattice
    coupling: Array | float
    field: Array | None = None

    sites = Sphere()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a configuration, components last."""
        return (*self.lattice.shape, 3)

    def wrap(self, field: Array) -> Array:
        """The vectors with length one, which rounding takes them from."""
        return field / jnp.sqrt(jnp.sum(field * field, axis=-1, keepdims=True))

    def _aligned(self, field: Array) -> Array:
        return jnp.sum(ahead(self.lattice, field) * field[None])

    def _vectors(self, field: Array) -> Array:
        return jnp.moveaxis(field, -1, 0)

    @of_sites
    def observables(self, field: Array) -> VectorObservables:
        """Energy in units of J, and mean vector."""
        energy = -self._aligned(field) / float(self.lattice.num_sites)
        return VectorObservables(energy, jnp.mean(field, axis=tuple(range(self.lattice.ndim))))

    def reflection(self, turn: Array, field: Array) -> Reflection:
        """The image in the mirror perpendicular to a direction on a spiral over the sphere, at ``turn`` of its way."""
        field, coupling, turn = alike(field, self.coupling, turn)
        height, azimuth = 1 - 2 * turn, 2 * math.pi * jnp.mod(turn * _WINDINGS, 1.0)
        radius = jnp.sqrt(jnp.maximum(1 - height * height, 0))
        direction = jnp.stack([radius * jnp.cos(azimuth), radius * jnp.sin(azimuth), height])
        direction = self.wrap(direction)
        along = jnp.dot(field, direction)
        bonds = coupling * along[None] * ahead(self.lattice, along)
        reflected = self.wrap(field - 2 * along[..., None] * jnp.broadcast_to(direction, field.shape))
        return self._reflection(bonds, field, reflected)
