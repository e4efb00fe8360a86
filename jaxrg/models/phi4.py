"""Real and complex fields with a quartic potential, in the conventions of the literature."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_floating_alike
from jaxrg.lattice import Lattice, inside
from jaxrg.lattice.geometry import check_lattice
from jaxrg.models.construction import as_couplings, pytree
from jaxrg.models.fields import (
    PhaseObservables,
    Reflection,
    ahead,
    alike,
    beyond,
    coordination,
    helicity_modulus,
    of_field,
    vortex_density,
)
from jaxrg.models.observables import Observables


class _QuarticField:
    """Couplings and action; a base of dataclasses with these fields."""

    lattice: Lattice
    mass_squared: Array | float
    quartic: Array | float
    kinetic: Array | float
    constant: Array | float

    def __post_init__(self) -> None:
        geometry = check_lattice("lattice", self.lattice)
        shapes = {"mass_squared": ((), geometry.shape), "quartic": ((),), "kinetic": ((),), "constant": ((),)}
        for name, allowed in shapes.items():
            object.__setattr__(self, name, as_couplings(name, getattr(self, name), *allowed))

    @of_field
    def action(self, field: Array) -> Array:
        """Scalar S of one configuration ``[*shape]``."""
        return self._action(field)

    def _action(self, field: Array) -> Array:
        couplings = self.kinetic, self.mass_squared, self.quartic, self.constant
        field, kinetic, mass_squared, quartic, constant = alike(field, *couplings)
        squares = _squares(field, self.lattice.ndim)
        steps = jnp.zeros_like(squares)
        for bond in self.lattice.bonds:  # one at a time: a gradient of stacked steps would take three passes
            kept = inside(self.lattice, bond)
            step = _squares(beyond(self.lattice, field, bond) - field, self.lattice.ndim)
            steps = steps + (step if kept.all() else jnp.where(kept, step, 0))
        potential = mass_squared * squares + quartic * squares * squares
        return kinetic * jnp.sum(steps) + jnp.sum(potential) + constant * float(squares.size)


def _squares(field: Array, ndim: int) -> Array:
    """Squared lengths, of numbers or of vectors along a last axis beyond those of the sites."""
    return field * field if field.ndim == ndim else jnp.sum(field * field, axis=-1)


_DATA = ("mass_squared", "quartic", "kinetic", "constant")


@pytree(data_fields=_DATA, meta_fields=("lattice",))
@dataclasses.dataclass(frozen=True)
class Phi4(_QuarticField):
    r"""A real scalar field with a quartic potential.

    .. math:: S(\phi) = k \sum_{b,x} (\phi_{x+b} - \phi_x)^2 + \sum_x (m^2 \phi_x^2 + \lambda \phi_x^4 + c)

    without factors ½, as the benchmarks of flows have it: with k = 1 and :math:`m^2 = -4` on a square lattice,
    :math:`S = -2\sum_{\langle xy\rangle}\phi_x\phi_y + \lambda\sum_x\phi_x^4`. `kappa_phi4` makes the same model of
    :math:`(\kappa, \lambda)`.

    ``observables`` are the action per site and the mean field.

    Attributes:
        lattice: geometry, static.
        mass_squared: m², scalar or ``[*shape]``.
        quartic: λ, scalar.
        kinetic: k, scalar.
        constant: c, scalar, an action a site that only lnZ sees.

    Raises:
        ValueError: no Lattice, or couplings that are no finite numbers or have another shape.

    Example:
        >>> from jaxrg import lattice
        >>> model = Phi4(lattice.hypercubic((4, 4)), -4.0, 6.008)
        >>> float(model.action(jnp.zeros((4, 4)))), round(float(model.action(jnp.full((4, 4), 0.5))), 3)
        (0.0, -9.992)
    """

    lattice: Lattice
    mass_squared: Array | float
    quartic: Array | float
    kinetic: Array | float = 1.0
    constant: Array | float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a configuration."""
        return self.lattice.shape

    @of_field
    def observables(self, field: Array) -> Observables:
        """Action per site, and mean field."""
        energy = self._action(field) / float(field.size)
        return Observables(energy, jnp.mean(field))

    def reflection(self, turn: Array, field: Array) -> Reflection:
        """The other sign, whatever ``turn`` is."""
        field, kinetic = alike(field, self.kinetic)
        return Reflection(2 * kinetic * field[None] * ahead(self.lattice, field), -field)


@pytree(data_fields=_DATA, meta_fields=("lattice",))
@dataclasses.dataclass(frozen=True)
class ComplexPhi4(_QuarticField):
    r"""A complex field with a quartic potential, as two real components.

    .. math:: S(\phi) = k \sum_{b,x} |\phi_{x+b} - \phi_x|^2 + \sum_x (m^2 |\phi_x|^2 + \lambda |\phi_x|^4 + c)

    `kappa_complex_phi4` and `hopping_complex_phi4` make it of the couplings of the literature. ``observables`` are
    those of `PhaseObservables`, with the action per site for energy.

    Attributes:
        lattice: geometry, static; a configuration is ``[*lattice.shape, 2]``.
        mass_squared: m², scalar or ``[*lattice.shape]``.
        quartic: λ, scalar.
        kinetic: k, scalar.
        constant: c, scalar, an action a site that only lnZ sees.

    Raises:
        ValueError: no Lattice, or couplings that are no finite numbers or have another shape.

    Example:
        >>> from jaxrg import lattice
        >>> ComplexPhi4(lattice.hypercubic((4, 4)), -4.0, 6.0).shape
        (4, 4, 2)
    """

    lattice: Lattice
    mass_squared: Array | float
    quartic: Array | float
    kinetic: Array | float = 1.0
    constant: Array | float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a configuration, real and imaginary part last."""
        return (*self.lattice.shape, 2)

    @of_field
    def observables(self, field: Array) -> PhaseObservables:
        """Action per site, mean field, helicity modulus and density of vortices."""
        field, kinetic = alike(field, self.kinetic)
        energy = self._action(field) / float(self.lattice.num_sites)
        mean = jnp.mean(field, axis=tuple(range(self.lattice.ndim)))
        stiffness = helicity_modulus(self.lattice, 2 * kinetic, field)
        angles = jnp.arctan2(field[..., 1], field[..., 0])
        return PhaseObservables(energy, mean, stiffness, vortex_density(self.lattice, angles))

    def reflection(self, turn: Array, field: Array) -> Reflection:
        """The image in the mirror perpendicular to the direction at the angle pi ``turn``."""
        field, kinetic, angle = alike(field, self.kinetic, turn * math.pi)
        direction = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        along = jnp.dot(field, direction)
        bonds = 2 * kinetic * along[None] * ahead(self.lattice, along)
        return Reflection(bonds, field - 2 * along[..., None] * jnp.broadcast_to(direction, field.shape))


def _mass_squared(lattice: Lattice, kinetic: Array, quadratic: Array) -> Array:
    """m² of the action -2 k sum_b phi phi + sum a phi²: less where a site has more neighbours."""
    neighbours = coordination(lattice)
    if neighbours.min() == neighbours.max():
        return quadratic - float(neighbours.max()) * kinetic
    return quadratic - kinetic * jnp.asarray(neighbours, kinetic.dtype)


@functools.partial(jax.jit, static_argnames="lattice", inline=True)
def _of_kappa(lattice: Lattice, kappa: Array, quartic: Array) -> tuple[Array, ...]:
    return _mass_squared(lattice, kappa, 1 - 2 * quartic), quartic, kappa, quartic


@functools.partial(jax.jit, static_argnames="lattice", inline=True)
def _of_hopping(lattice: Lattice, hopping: Array, quadratic: Array, quartic: Array) -> tuple[Array, ...]:
    return _mass_squared(lattice, hopping / 2, quadratic), quartic, hopping / 2, jnp.zeros_like(quartic)


def _checked(lattice: Lattice, **couplings: Array | float) -> list[Array]:
    check_lattice("lattice", lattice)
    return as_floating_alike(**{name: as_couplings(name, value, ()) for name, value in couplings.items()})


def kappa_phi4(lattice: Lattice, kappa: Array | float, quartic: Array | float) -> Phi4:
    r"""The real field in the convention of the Ising limit.

    .. math:: S(\phi) = -2\kappa \sum_{b,x} \phi_x \phi_{x+b} + \sum_x [\phi_x^2 + \lambda (\phi_x^2 - 1)^2]

    That is `Phi4` with :math:`k = \kappa`, :math:`m^2 = 1 - 2\lambda - z_x \kappa` for :math:`z_x` neighbours and
    :math:`c = \lambda`. A model with k = 1 and couplings :math:`(m^2, \lambda')` is the one with
    :math:`\lambda = \kappa^2\lambda'`, :math:`2\lambda'\kappa^2 + (z + m^2)\kappa = 1`, for a field smaller by
    :math:`\sqrt\kappa`: :math:`m^2 = -4` on a square lattice is always :math:`\lambda = ½`.

    Args:
        lattice: geometry.
        kappa: κ, scalar; a square lattice at λ = 0.022 is critical at 0.27088.
        quartic: λ, scalar; spins ±1 with the coupling 2κ for an infinite one.

    Raises:
        ValueError: no Lattice, or couplings that are no finite scalars.

    Example:
        >>> from jaxrg import lattice
        >>> model = kappa_phi4(lattice.hypercubic((4, 4)), 0.27, 0.022)
        >>> round(float(model.action(jnp.ones((4, 4)))), 3)  # 16 - 2 * 0.27 * 32
        -1.28
    """
    return Phi4(lattice, *_of_kappa(lattice, *_checked(lattice, kappa=kappa, quartic=quartic)))


def kappa_complex_phi4(lattice: Lattice, kappa: Array | float, quartic: Array | float) -> ComplexPhi4:
    r"""The complex field in the convention of the XY limit.

    .. math:: S(\phi) = -2\kappa \sum_{b,x} \phi_x\!\cdot\phi_{x+b} + \sum_x [|\phi_x|^2 + \lambda (|\phi_x|^2 - 1)^2]

    Args:
        lattice: geometry.
        kappa: κ, scalar.
        quartic: λ, scalar; `XY` with the coupling 2κ for an infinite one.

    Raises:
        ValueError: no Lattice, or couplings that are no finite scalars.
    """
    return ComplexPhi4(lattice, *_of_kappa(lattice, *_checked(lattice, kappa=kappa, quartic=quartic)))


def hopping_complex_phi4(
    lattice: Lattice, hopping: Array | float, quadratic: Array | float, quartic: Array | float
) -> ComplexPhi4:
    r"""The complex field of bosons that hop.

    .. math:: S(\phi) = -t \sum_{b,x} \operatorname{Re} \phi_x^* \phi_{x+b}
        + \sum_x (\mu |\phi_x|^2 + \lambda |\phi_x|^4)

    Args:
        lattice: geometry.
        hopping: t, scalar.
        quadratic: μ, scalar, negative for a condensate.
        quartic: λ, scalar.

    Raises:
        ValueError: no Lattice, or couplings that are no finite scalars.

    Reference:
        Hu, Li, Wang & You, Phys. Rev. Research 2, 023369 (2020).
    """
    couplings = _checked(lattice, hopping=hopping, quadratic=quadratic, quartic=quartic)
    return ComplexPhi4(lattice, *_of_hopping(lattice, *couplings))
