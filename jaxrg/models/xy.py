"""The XY model: planar spins, as angles."""

import dataclasses
import math

import jax.numpy as jnp
from jax import Array

from jaxrg.lattice import Lattice
from jaxrg.lattice.geometry import check_lattice
from jaxrg.models.construction import as_couplings, pytree
from jaxrg.models.fields import (
    PhaseObservables,
    Reflection,
    ahead,
    alike,
    as_vector_field,
    by_component,
    helicity_modulus,
    neighbour_sum,
    of_field,
    vortex_density,
)
from jaxrg.models.lattice_pairs import LatticeSites
from jaxrg.models.sites import Circle
from jaxrg.models.sites.angles import vector_of, wrap_angles


@pytree(data_fields=("coupling", "field"), meta_fields=("lattice",))
@dataclasses.dataclass(frozen=True)
class XY(LatticeSites):
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

    def __post_init__(self) -> None:
        check_lattice("lattice", self.lattice)
        object.__setattr__(self, "coupling", as_couplings("coupling", self.coupling, ()))
        object.__setattr__(self, "field", as_vector_field(self.field, self.lattice, 2))

    def wrap(self, field: Array) -> Array:
        r"""The same spins, by angles in :math:`[-\pi, \pi)`."""
        return wrap_angles(field)

    @of_field
    def action(self, field: Array) -> Array:
        """Scalar S of one configuration ``[*shape]``."""
        field, coupling = alike(field, self.coupling)
        action = -coupling * self._aligned(field)
        return action if self.field is None else action - jnp.sum(self._along_field(field))

    def hamiltonian(self, field: Array) -> Array:
        """The same as ``action``."""
        return self.action(field)

    def _along_field(self, field: Array) -> Array:
        """``[*shape]`` h · u of every site."""
        field, h = alike(field, self.field)
        return jnp.sum(by_component(h, self.lattice) * jnp.stack([jnp.cos(field), jnp.sin(field)]), axis=0)

    @of_field
    def local_field(self, field: Array) -> Array:
        r"""``[2, *shape]`` f = K sum of the neighbours' vectors plus h: a site has the density :math:`e^{f\cdot u}`."""
        field, coupling = alike(field, self.coupling)
        total = coupling * neighbour_sum(self.lattice, jnp.stack(vector_of(field)))
        if self.field is None:
            return total
        total, h = alike(total, self.field)
        return total + by_component(h, self.lattice)

    def _aligned(self, field: Array) -> Array:
        cosines = jnp.cos(ahead(self.lattice, field) - field[None])
        return jnp.sum(jnp.where(self.lattice.bonds_inside() if self.lattice.bonds else False, cosines, 0))

    @of_field
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
        if self.field is None:
            return Reflection(bonds, reflected)
        return Reflection(bonds, reflected, (self._along_field(field) - self._along_field(reflected)) / 2)
