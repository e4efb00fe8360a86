"""Spin glasses on a lattice: a coupling for every bond."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_floating, check_key, check_number, is_traced
from jaxrg.lattice import Lattice, shift
from jaxrg.lattice.geometry import check_lattice
from jaxrg.models.construction import as_couplings, of_spins, pytree
from jaxrg.models.lattice_pairs import LatticePairs
from jaxrg.models.observables import Observables, magnetization


@pytree(data_fields=("bonds", "coupling", "field"), meta_fields=("lattice",))
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
        ValueError: no Lattice, or bonds, a coupling or a field that are no finite numbers or have another shape.
    """

    lattice: Lattice
    bonds: Array
    coupling: Array | float = 1.0
    field: Array | float = 0.0

    def __post_init__(self) -> None:
        geometry = check_lattice("lattice", self.lattice)
        shapes = {
            "bonds": [(len(geometry.bonds), *geometry.shape)],
            "coupling": [()],
            "field": [(), geometry.shape],
        }
        for name, allowed in shapes.items():
            object.__setattr__(self, name, as_couplings(name, getattr(self, name), *allowed))

    def _masked_bonds(self) -> Array:
        return jnp.where(self.lattice.bonds_inside(), self.bonds, 0)

    def bond_couplings(self) -> Array:
        """``[num_directions, *shape]`` K J of the bond from ``x`` to ``x + b``; zero beyond an open boundary."""
        return jnp.asarray(self.coupling) * self._masked_bonds()

    def distinct_couplings(self) -> Array:
        """``[num_directions, *shape]`` K J, as `bond_couplings`."""
        return self.bond_couplings()

    @of_spins
    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[*shape]``."""
        couplings = self.bond_couplings()
        dtype = couplings.dtype
        products = jnp.stack(self.bond_products(spins)).astype(dtype)
        return -jnp.sum(couplings * products) - jnp.sum(self.field_array().astype(dtype) * spins.astype(dtype))

    @of_spins
    def local_field(self, spins: Array) -> Array:
        r"""``[*shape]`` :math:`f_x = -\partial H/\partial s_x`."""
        couplings = self.bond_couplings()
        total = self.field_array().astype(couplings.dtype)
        values = spins.astype(couplings.dtype)
        for coupling, bond in zip(couplings, self.lattice.bonds, strict=True):
            back = tuple(-step for step in bond)
            total = total + coupling * shift(self.lattice, values, bond)
            total = total + shift(self.lattice, coupling * values, back)
        return total

    @of_spins
    def observables(self, spins: Array) -> Observables:
        r"""Energy :math:`-N^{-1}\sum J s s` in units of J, and magnetisation."""
        bonds = self._masked_bonds()
        energy = -jnp.sum(bonds * jnp.stack(self.bond_products(spins)).astype(bonds.dtype))
        return Observables(energy / float(self.lattice.num_sites), magnetization(spins, bonds.dtype))


def plus_minus_glass(
    key: Array, lattice: Lattice, coupling: Array | float = 1.0, *, positive_fraction: Array | float = 0.5
) -> Glass:
    """Edwards-Anderson ±J glass: every bond +1 with probability ``positive_fraction``, else -1.

    Raises:
        ValueError: ``positive_fraction`` outside [0, 1], no typed key, or no Lattice.
    """
    check_key("key", key)
    check_number("positive_fraction", positive_fraction)
    if not is_traced(positive_fraction) and not 0 <= float(positive_fraction) <= 1:
        raise ValueError(f"positive_fraction: expected a probability in [0, 1], got {positive_fraction}")
    shape = (len(check_lattice("lattice", lattice).bonds), *lattice.shape)
    return Glass(lattice, _plus_minus_bonds(key, as_floating("positive_fraction", positive_fraction), shape), coupling)


def gaussian_glass(key: Array, lattice: Lattice, coupling: Array | float = 1.0) -> Glass:
    """Edwards-Anderson glass with independent standard normal bonds.

    Raises:
        ValueError: no typed key, or no Lattice.
    """
    check_key("key", key)
    return Glass(
        lattice, _gaussian_bonds(key, (len(check_lattice("lattice", lattice).bonds), *lattice.shape)), coupling
    )


@functools.partial(jax.jit, static_argnames="shape", inline=True)
def _plus_minus_bonds(key: Array, positive_fraction: Array, shape: tuple[int, ...]) -> Array:
    return jnp.where(jax.random.bernoulli(key, positive_fraction, shape), 1.0, -1.0)


@functools.partial(jax.jit, static_argnames="shape", inline=True)
def _gaussian_bonds(key: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.normal(key, shape)
