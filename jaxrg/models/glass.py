"""Spin glasses on a lattice: a coupling for every bond."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_parameter, check_shape
from jaxrg.lattice import Lattice, shift
from jaxrg.models.lattice_pairs import LatticePairs
from jaxrg.models.observables import Observables, magnetization


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["bonds", "coupling", "field"], meta_fields=["lattice"]
)
@dataclasses.dataclass(frozen=True)
class Glass(LatticePairs):
    r"""Ising spins with a coupling of its own for every bond.

    .. math:: H(s) = -K \sum_{b, x} J_b(x)\, s_x s_{x+b} - h \sum_x s_x

    Attributes:
        lattice: geometry, static.
        bonds: J, ``[num_directions, *shape]``; entries beyond an open boundary are ignored.
        coupling: K, scalar, the reduced coupling that multiplies every J.
        field: h, scalar or ``[*shape]``.

    Raises:
        ValueError: a NaN or infinite bond, coupling or field.
    """

    lattice: Lattice
    bonds: Array
    coupling: Array | float = 1.0
    field: Array | float = 0.0

    def __post_init__(self) -> None:
        for name in ("bonds", "coupling", "field"):
            object.__setattr__(self, name, as_parameter(name, getattr(self, name)))

    def _masked_bonds(self) -> Array:
        expected = (len(self.lattice.bonds), *self.shape)
        check_shape("bonds", self.bonds, expected)
        return jnp.where(self.lattice.bonds_inside(), self.bonds, 0)

    def bond_couplings(self) -> Array:
        """``[num_directions, *shape]`` K J of the bond from ``x`` to ``x + b``; zero beyond an open boundary."""
        return jnp.asarray(self.coupling) * self._masked_bonds()

    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[*shape]``."""
        check_shape("spins", spins, self.shape)
        couplings = self.bond_couplings()
        dtype = couplings.dtype
        products = jnp.stack(self.bond_products(spins)).astype(dtype)
        return -jnp.sum(couplings * products) - jnp.sum(self.field_array().astype(dtype) * spins.astype(dtype))

    def local_field(self, spins: Array) -> Array:
        r"""``[*shape]`` :math:`f_x = -\partial H/\partial s_x`."""
        check_shape("spins", spins, self.shape)
        couplings = self.bond_couplings()
        total = self.field_array().astype(couplings.dtype)
        values = spins.astype(couplings.dtype)
        for coupling, bond in zip(couplings, self.lattice.bonds, strict=True):
            back = tuple(-step for step in bond)
            total = total + coupling * shift(self.lattice, values, bond)
            total = total + shift(self.lattice, coupling * values, back)
        return total

    def observables(self, spins: Array) -> Observables:
        r"""Energy :math:`-N^{-1}\sum J s s` in units of J, and magnetisation."""
        check_shape("spins", spins, self.shape)
        bonds = self._masked_bonds()
        energy = -jnp.sum(bonds * jnp.stack(self.bond_products(spins)).astype(bonds.dtype))
        return Observables(energy / self.lattice.num_sites, magnetization(spins, bonds.dtype))


def plus_minus_glass(
    key: Array, lattice: Lattice, coupling: Array | float = 1.0, *, positive_fraction: float = 0.5
) -> Glass:
    """Edwards-Anderson ±J glass: every bond +1 with probability ``positive_fraction``, else -1.

    Raises:
        ValueError: ``positive_fraction`` outside [0, 1].
    """
    if not 0 <= positive_fraction <= 1:
        raise ValueError(f"positive_fraction: expected a probability in [0, 1], got {positive_fraction}")
    is_positive = jax.random.bernoulli(key, positive_fraction, (len(lattice.bonds), *lattice.shape))
    return Glass(lattice, jnp.where(is_positive, 1.0, -1.0), coupling)


def gaussian_glass(key: Array, lattice: Lattice, coupling: Array | float = 1.0) -> Glass:
    """Edwards-Anderson glass with independent standard normal bonds."""
    return Glass(lattice, jax.random.normal(key, (len(lattice.bonds), *lattice.shape)), coupling)
