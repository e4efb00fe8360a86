"""The Ising model on a lattice."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxrg.lattice import Lattice, shift
from jaxrg.lattice.geometry import check_lattice
from jaxrg.models.construction import as_couplings, of_spins, pytree
from jaxrg.models.lattice_pairs import LatticePairs
from jaxrg.models.observables import Observables, exact_sum, magnetization


@pytree(data_fields=("coupling", "field"), meta_fields=("lattice",))
@dataclasses.dataclass(frozen=True)
class Ising(LatticePairs):
    r"""Ising model with reduced couplings, beta absorbed.

    .. math:: H(s) = -\sum_{b} K_b \sum_x s_x s_{x+b} - h \sum_x s_x, \qquad P(s) = e^{-H(s)}/Z

    Two units of energy: ``hamiltonian`` is the reduced H = E/kT, ``observables(...).energy`` is the energy a site in
    units of J, -2 for all spins up on a square lattice whatever K is (and without the field's part). An
    `OperatorModel` reports H/N in its place, which is -2 K.

    The square lattice orders at K = `jaxrg.exact.critical_coupling` = ½ ln(1 + √2).

    Attributes:
        lattice: geometry, static.
        coupling: K, scalar, or one for each direction of bond ``[num_directions]``; dimensionless.
        field: h, scalar or ``[*shape]``; dimensionless.

    Raises:
        ValueError: no Lattice, or couplings or a field that are no finite numbers or have another shape. A batch of
            models is made under ``vmap``: ``jax.vmap(lambda k: Ising(lattice, k))(couplings)``.

    Example:
        >>> from jaxrg import lattice
        >>> model = Ising(lattice.hypercubic((4, 4)), 0.5)
        >>> up = jnp.ones((4, 4), jnp.int8)
        >>> float(model.hamiltonian(up)), float(model.observables(up).energy)
        (-16.0, -2.0)
    """

    lattice: Lattice
    coupling: Array | float
    field: Array | float = 0.0

    def __post_init__(self) -> None:
        geometry = check_lattice("lattice", self.lattice)
        object.__setattr__(self, "coupling", as_couplings("coupling", self.coupling, (), (len(geometry.bonds),)))
        object.__setattr__(self, "field", as_couplings("field", self.field, (), geometry.shape))

    def _direction_couplings(self) -> Array:
        return jnp.broadcast_to(jnp.asarray(self.coupling), (len(self.lattice.bonds),))

    def distinct_couplings(self) -> Array:
        """``[num_directions, 1, ..., 1]`` K of every bond of a direction."""
        return self._direction_couplings().reshape((-1, *[1] * self.lattice.ndim))

    def bond_couplings(self) -> Array:
        """``[num_directions, *shape]`` coupling of the bond from ``x`` to ``x + b``; zero beyond an open boundary."""
        return jnp.where(self.lattice.bonds_inside(), self.distinct_couplings(), 0)

    @of_spins
    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[*shape]``."""
        couplings = self._direction_couplings()
        dtype = couplings.dtype
        sums = jnp.stack([exact_sum(product, dtype) for product in self.bond_products(spins)])
        field = self.field_array().astype(dtype)
        return -jnp.dot(couplings, sums) - jnp.sum(field * spins.astype(dtype))

    @of_spins
    def local_field(self, spins: Array) -> Array:
        r"""``[*shape]`` :math:`f_x = -\partial H/\partial s_x`; :math:`P(s_x=+1|\text{rest}) = 1/(1+e^{-2f_x})`."""
        couplings = self._direction_couplings()
        total = self.field_array().astype(couplings.dtype)
        for direction, bond in enumerate(self.lattice.bonds):
            back = tuple(-step for step in bond)
            neighbours = shift(self.lattice, spins, bond) + shift(self.lattice, spins, back)
            total = total + couplings[direction] * neighbours.astype(couplings.dtype)
        return total

    @of_spins
    def observables(self, spins: Array) -> Observables:
        r"""Energy :math:`-N^{-1}\sum_{\langle xy\rangle} s_x s_y` in units of J, and magnetisation."""
        dtype = jnp.asarray(self.coupling).dtype
        aligned = sum(exact_sum(product, dtype) for product in self.bond_products(spins))
        return Observables(-jnp.asarray(aligned) / float(self.lattice.num_sites), magnetization(spins, dtype))
