"""The Ising model on a lattice."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_parameter, check_shape
from jaxrg.lattice import Lattice, shift
from jaxrg.models.lattice_pairs import LatticePairs
from jaxrg.models.observables import Observables, exact_sum, magnetization


@functools.partial(jax.tree_util.register_dataclass, data_fields=["coupling", "field"], meta_fields=["lattice"])
@dataclasses.dataclass(frozen=True)
class Ising(LatticePairs):
    r"""Ising model with reduced couplings, beta absorbed.

    .. math:: H(s) = -\sum_{b} K_b \sum_x s_x s_{x+b} - h \sum_x s_x, \qquad P(s) = e^{-H(s)}/Z

    Attributes:
        lattice: geometry, static.
        coupling: K, scalar, or one for each direction of bond ``[num_directions]``; dimensionless.
        field: h, scalar or ``[*shape]``; dimensionless.

    Raises:
        ValueError: a NaN or infinite coupling or field.

    Example:
        >>> from jaxrg import lattice
        >>> float(Ising(lattice.hypercubic((4, 4)), 0.5).hamiltonian(jnp.ones((4, 4), jnp.int8)))
        -16.0
    """

    lattice: Lattice
    coupling: Array | float
    field: Array | float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "coupling", as_parameter("coupling", self.coupling))
        object.__setattr__(self, "field", as_parameter("field", self.field))

    def _direction_couplings(self) -> Array:
        coupling = jnp.asarray(self.coupling)
        num_directions = len(self.lattice.bonds)
        if coupling.shape not in ((), (num_directions,)):
            raise ValueError(f"coupling: expected a scalar or shape ({num_directions},), got {coupling.shape}")
        return jnp.broadcast_to(coupling, (num_directions,))

    def bond_couplings(self) -> Array:
        """``[num_directions, *shape]`` coupling of the bond from ``x`` to ``x + b``; zero beyond an open boundary."""
        couplings = self._direction_couplings().reshape((-1, *[1] * self.lattice.ndim))
        return jnp.where(self.lattice.bonds_inside(), couplings, 0)

    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[*shape]``."""
        check_shape("spins", spins, self.shape)
        couplings = self._direction_couplings()
        dtype = couplings.dtype
        sums = jnp.stack([exact_sum(product, dtype) for product in self.bond_products(spins)])
        field = self.field_array().astype(dtype)
        return -jnp.dot(couplings, sums) - jnp.sum(field * spins.astype(dtype))

    def local_field(self, spins: Array) -> Array:
        r"""``[*shape]`` :math:`f_x = -\partial H/\partial s_x`; :math:`P(s_x=+1|\text{rest}) = 1/(1+e^{-2f_x})`."""
        check_shape("spins", spins, self.shape)
        couplings = self._direction_couplings()
        total = self.field_array().astype(couplings.dtype)
        for direction, bond in enumerate(self.lattice.bonds):
            back = tuple(-step for step in bond)
            neighbours = shift(self.lattice, spins, bond) + shift(self.lattice, spins, back)
            total = total + couplings[direction] * neighbours.astype(couplings.dtype)
        return total

    def observables(self, spins: Array) -> Observables:
        r"""Energy :math:`-N^{-1}\sum_{\langle xy\rangle} s_x s_y` in units of J, and magnetisation."""
        check_shape("spins", spins, self.shape)
        dtype = jnp.asarray(self.coupling).dtype
        aligned = sum(exact_sum(product, dtype) for product in self.bond_products(spins))
        return Observables(-jnp.asarray(aligned) / self.lattice.num_sites, magnetization(spins, dtype))
