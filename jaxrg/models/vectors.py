"""What models of vectors of length one have in common: coupling, field, action and local field."""

from abc import ABC, abstractmethod

import jax.numpy as jnp
from jax import Array

from jaxrg.base import SiteSpace
from jaxrg.lattice import Lattice
from jaxrg.lattice.geometry import check_lattice
from jaxrg.models.construction import as_couplings, of_sites
from jaxrg.models.fields import Reflection, alike, as_vector_field, by_component, neighbour_sum
from jaxrg.models.lattice_pairs import LatticeSites


class LatticeVectors(LatticeSites, ABC):
    """S = -K sum_b u_x . u_{x+b} - sum_x h_x . u_x; a base of dataclasses with these fields.

    A model says what its ``sites`` are, what the vectors of a configuration are and how much neighbours align.
    """

    lattice: Lattice
    coupling: Array | float
    field: Array | None
    sites: SiteSpace

    def __post_init__(self) -> None:
        check_lattice("lattice", self.lattice)
        object.__setattr__(self, "coupling", as_couplings("coupling", self.coupling, ()))
        object.__setattr__(self, "field", as_vector_field(self.field, self.lattice, self.sites.field_shape[0]))

    @abstractmethod
    def _vectors(self, field: Array) -> Array:
        """``[n, *lattice.shape]``, components first."""

    @abstractmethod
    def _aligned(self, field: Array) -> Array:
        """[] sum of u . u over all bonds."""

    @of_sites
    def action(self, field: Array) -> Array:
        """Scalar S of one configuration ``[*shape]``."""
        field, coupling = alike(field, self.coupling)
        action = -coupling * self._aligned(field)
        return action if self.field is None else action - jnp.sum(self._along_field(field))

    def hamiltonian(self, field: Array) -> Array:
        """The same as ``action``."""
        return self.action(field)

    def _along_field(self, field: Array) -> Array:
        """``[*lattice.shape]`` h . u of every site."""
        field, h = alike(field, self.field)
        return jnp.sum(by_component(h, self.lattice) * self._vectors(field), axis=0)

    @of_sites
    def local_field(self, field: Array) -> Array:
        r"""``[n, *lattice.shape]`` f = K sum of the neighbours plus h: a site has the density :math:`e^{f\cdot u}`."""
        field, coupling = alike(field, self.coupling)
        total = coupling * neighbour_sum(self.lattice, self._vectors(field))
        if self.field is None:
            return total
        total, h = alike(total, self.field)
        return total + by_component(h, self.lattice)

    def _reflection(self, bonds: Array, field: Array, reflected: Array) -> Reflection:
        """With what the field makes of a configuration and its image."""
        if self.field is None:
            return Reflection(bonds, reflected)
        return Reflection(bonds, reflected, (self._along_field(field) - self._along_field(reflected)) / 2)
