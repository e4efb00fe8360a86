"""The XY model: planar spins, as angles."""

import dataclasses
import math

import jax.numpy as jnp
from jax import Array

from jaxrg.lattice import Lattice
from jaxrg.models.construction import of_sites, pytree
from jaxrg.models.fields import (
    PhaseObservables,
    Reflection,
    ahead,
    alike,
    helicity_modulus,
    vortex_density,
)
from jaxrg.models.sites import Circle
from jaxrg.models.sites.angles import wrap_angles
from jaxrg.models.vectors import LatticeVectors


@pytree(data_fields=("coupling", "field"), meta_fields=("lattice",))
@dataclasses.dataclass(frozen=True)
class XY(LatticeVectors):
    r"""Planar spins with reduced couplings, beta absorbed.

    .. math:: S(\theta) = -K \sum_{b,x} \cos(\theta_{x+b} - \theta_x)
        - \sum_x (h_{x1} \cos\theta_x + h_{x2} \sin\theta_x), \qquad
        Z = \int_{-\pi}^{\pi} \prod_x d\theta_x\, e^{-S(\theta)}

    A configuration is ``[*shape]`` angles; any real numbers are, and samplers keep them in :math:`[-\pi, \pi)`. The
    square lattice has its Kosterlitz-Thouless transition at K = 1.11996(6) (Komura & Okabe, 2012).

    ``observables`` are those of `PhaseObservables`, with the energy in units of J and without the field's part, -2 for
    parallel spins on a square lattice.

    Attributes:
        lattice: geometry, static.
        coupling: K = J/kT, scalar.
        field: h, a vector ``[2]`` for all sites or ``[*shape, 2]`` for each; None for no field.

    Raises:
        ValueError: no Lattice, or couplings that are no finite numbers or have another shape.

    Example:
        >>> from jaxrg import lattice
        >>> model = XY(lattice.hypercubic((4, 4)), 1.12)
        >>> seen = model.observables(jnp.full((4, 4), 0.3))
        >>> float(seen.energy), round(float(seen.helicity_modulus), 6), float(seen.vortex_density)
        (-2.0, 1.12, 0.0)
    """

    lattice: Lattice
    coupling: Array | float
    field: Array | None = None

    sites = Circle()

    def wrap(self, field: Array) -> Array:
        r"""The same spins, by angles in :math:`[-\pi, \pi)`."""
        return wrap_angles(field)

    def _vectors(self, field: Array) -> Array:
        return Circle().lift(field)

    def _aligned(self, field: Array) -> Array:
        cosines = jnp.cos(ahead(self.lattice, field) - field[None])
        return jnp.sum(jnp.where(self.lattice.bonds_inside() if self.lattice.bonds else False, cosines, 0))

    @of_sites
    def observables(self, field: Array) -> PhaseObservables:
        """Energy in units of J, mean spin, helicity modulus and density of vortices."""
        field, coupling = alike(field, self.coupling)
        vectors = jnp.stack([jnp.cos(field), jnp.sin(field)], axis=-1)
        mean = jnp.mean(vectors, axis=tuple(range(self.lattice.ndim)))
        energy = -self._aligned(field) / float(self.lattice.num_sites)
        stiffness = helicity_modulus(self.lattice, coupling, vectors)
        return PhaseObservables(energy, mean, stiffness, vortex_density(self.lattice, field))

    def reflection(self, turn: Array, field: Array) -> Reflection:
        """The image in the mirror perpendicular to the direction at the angle pi ``turn``."""
        field, coupling, angle = alike(field, self.coupling, turn * math.pi)
        along = jnp.cos(field - angle)
        bonds = coupling * along[None] * ahead(self.lattice, along)
        reflected = wrap_angles(2 * angle + math.pi - field)
        return self._reflection(bonds, field, reflected)
