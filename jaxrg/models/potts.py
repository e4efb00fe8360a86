"""Models of q states on a lattice: Potts and clock."""

import dataclasses
import itertools
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.lattice import Lattice, shift
from jaxrg.lattice.geometry import check_lattice
from jaxrg.models.construction import as_couplings, of_sites, pytree
from jaxrg.models.fields import PhaseObservables, Reflection, as_vector_field, by_component
from jaxrg.models.lattice_pairs import LatticeBonds, LatticeSites
from jaxrg.models.observables import exact_sum
from jaxrg.models.sites import States
from jaxrg.models.xy import XY


class PottsObservables(NamedTuple):
    """What a Potts model reports of one configuration, per site."""

    energy: Array  # [] in units of J: minus the number of bonds between equal states
    order_parameter: Array  # [] (q max_s n_s - 1) / (q - 1): one in order, zero where all states are equally many
    fractions: Array  # [q] n_s, the fraction of sites in each state


class _LatticeStates(LatticeSites):
    """What models of q states share."""

    num_states: int

    @property
    def sites(self) -> States:
        """Integers 0, ..., q - 1."""
        return States(self.num_states)


def _ahead(lattice: Lattice, states: Array) -> Array:
    """``[num_directions, *shape]`` the states at ``x + b``, -1 beyond an open boundary."""
    there = [shift(lattice, states + jnp.ones((), states.dtype), bond) for bond in lattice.bonds]
    stacked = jnp.stack(there) if there else jnp.zeros((0, *states.shape), states.dtype)
    return stacked - jnp.ones((), states.dtype)


@pytree(data_fields=("coupling", "field"), meta_fields=("lattice", "num_states"))
@dataclasses.dataclass(frozen=True)
class Potts(_LatticeStates, LatticeBonds):
    r"""The q-state Potts model with reduced couplings, beta absorbed.

    .. math:: H(s) = -K \sum_{b,x} \delta(s_x, s_{x+b}) - \sum_x h_x(s_x), \qquad s_x \in \{0, ..., q - 1\}

    The Ising model is q = 2 with twice its K. The square lattice orders at K = ln(1 + √q), continuously up to q = 4.

    Attributes:
        lattice: geometry, static.
        num_states: q, from 2 to 127, static.
        coupling: K = J/kT, scalar.
        field: h of every state, ``[q]`` for all sites or ``[*shape, q]`` for each; None for no field.

    Raises:
        ValueError: no Lattice, no such q, or couplings that are no finite numbers or have another shape.

    Example:
        >>> from jaxrg import lattice
        >>> model = Potts(lattice.hypercubic((4, 4)), 3, 0.5)
        >>> ordered = jnp.zeros((4, 4), jnp.int8)
        >>> float(model.hamiltonian(ordered)), float(model.observables(ordered).order_parameter)
        (-16.0, 1.0)

    Reference:
        Wu, Rev. Mod. Phys. 54, 235 (1982).
    """

    lattice: Lattice
    num_states: int
    coupling: Array | float
    field: Array | None = None

    def __post_init__(self) -> None:
        check_lattice("lattice", self.lattice)
        object.__setattr__(self, "num_states", self.sites.num_states)
        object.__setattr__(self, "coupling", as_couplings("coupling", self.coupling, ()))
        object.__setattr__(self, "field", as_vector_field(self.field, self.lattice, self.num_states))

    def _state_fields(self, dtype: Any) -> Array:
        """``[q, 1, ..., 1]`` or ``[q, *shape]`` h."""
        field = jnp.zeros((self.num_states,), dtype) if self.field is None else jnp.asarray(self.field).astype(dtype)
        return by_component(field, self.lattice)

    def state_fields(self) -> Array | None:
        """``[q, *shape]`` h of every state at every site; None without field."""
        if self.field is None:
            return None
        return jnp.broadcast_to(self._state_fields(jnp.asarray(self.field).dtype), (self.num_states, *self.shape))

    @of_sites
    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[*shape]``."""
        coupling = jnp.asarray(self.coupling)
        energy = -coupling * self._equal_bonds(spins)
        if self.field is None:
            return energy
        return energy - jnp.sum(jnp.where(self.sites.are(spins), self._state_fields(coupling.dtype), 0))

    def _equal_bonds(self, spins: Array) -> Array:
        is_equal = (_ahead(self.lattice, spins) == spins[None]).astype(jnp.int32)
        return exact_sum(is_equal, jnp.asarray(self.coupling).dtype)

    @of_sites
    def local_field(self, spins: Array) -> Array:
        r"""``[q, *shape]`` :math:`f_s = K n_s + h_s` with :math:`n_s` neighbours in s: P(s) is ∝ :math:`e^{f_s}`."""
        coupling = jnp.asarray(self.coupling)
        number = jnp.zeros((self.num_states, *self.shape), jnp.int8)
        marked = spins + jnp.ones((), spins.dtype)  # 0 is left for what is beyond an open boundary
        for bond in self.lattice.bonds:
            for step in (bond, tuple(-part for part in bond)):
                number = number + self.sites.are(shift(self.lattice, marked, step) - 1).astype(jnp.int8)
        total = coupling * number.astype(coupling.dtype)
        return total if self.field is None else total + self._state_fields(coupling.dtype)

    @of_sites
    def observables(self, spins: Array) -> PottsObservables:
        r"""Energy :math:`-N^{-1}\sum \delta(s_x, s_y)` in units of J, order parameter and fractions of the states."""
        num_sites = float(self.lattice.num_sites)
        dtype = jnp.asarray(self.coupling).dtype
        numbers = jnp.sum(self.sites.are(spins), axis=tuple(range(1, spins.ndim + 1)), dtype=jnp.int32)
        fractions = numbers.astype(dtype) / num_sites
        order = (self.num_states * jnp.max(fractions) - 1) / float(self.num_states - 1)
        return PottsObservables(-self._equal_bonds(spins) / num_sites, order, fractions)

    def distinct_couplings(self) -> Array:
        """``[num_directions, 1, ..., 1]`` K, of all bonds."""
        return jnp.broadcast_to(jnp.asarray(self.coupling), (len(self.lattice.bonds), *[1] * self.lattice.ndim))

    def bond_couplings(self) -> Array:
        """``[num_directions, *shape]`` K of the bond from ``x`` to ``x + b``; zero beyond an open boundary."""
        return jnp.where(self.lattice.bonds_inside(), self.distinct_couplings(), 0)

    def bonds_equal(self, spins: Array) -> Array:
        """``[num_directions, *shape]`` whether the states at ``x`` and ``x + b`` are equal."""
        return _ahead(self.lattice, spins) == spins[None]

    def reflection(self, turn: Array, spins: Array) -> Reflection:
        r"""Two states exchanged: every pair for an equal part of the way of ``turn`` from 0 to 1.

        The spins of the sites that are in one of them are Ising spins with K/2, of either sign, which is the algorithm
        of Wang, Swendsen & Kotecký for antiferromagnets (Phys. Rev. Lett. 63, 109, 1989).
        """
        pairs = np.array(list(itertools.combinations(range(self.num_states), 2)), np.int8)
        number = jnp.minimum((turn * len(pairs)).astype(jnp.int32), len(pairs) - 1)
        first, second = jnp.asarray(pairs)[number]
        sign = jnp.where(spins == first, jnp.int8(1), jnp.where(spins == second, jnp.int8(-1), jnp.int8(0)))
        coupling = jnp.asarray(self.coupling)
        products = jnp.stack([sign * shift(self.lattice, sign, bond) for bond in self.lattice.bonds])
        reflected = jnp.where(sign > 0, second, jnp.where(sign < 0, first, spins))
        bonds = coupling / 2 * products.astype(coupling.dtype)
        if self.field is None:
            return Reflection(bonds, reflected)
        fields = self._state_fields(coupling.dtype)
        gain = jnp.where(self.sites.are(spins), fields, 0) - jnp.where(self.sites.are(reflected), fields, 0)
        return Reflection(bonds, reflected, jnp.sum(gain, axis=0) / 2)


@pytree(data_fields=("coupling", "field"), meta_fields=("lattice", "num_states"))
@dataclasses.dataclass(frozen=True)
class Clock(_LatticeStates):
    r"""The clock model: planar spins in q directions, `XY` at the angles :math:`2\pi s/q`.

    .. math:: H(s) = -K \sum_{b,x} \cos\frac{2\pi (s_{x+b} - s_x)}{q} - \sum_x h_x\!\cdot u(s_x), \qquad
        u(s) = \Big(\cos\frac{2\pi s}{q}, \sin\frac{2\pi s}{q}\Big)

    With q = 2 it is the Ising model, with 3 the Potts model of coupling 3K/2, with 4 two Ising models of K/2.
    ``observables`` are those of `XY`.

    Attributes:
        lattice: geometry, static.
        num_states: q, from 2 to 127, static.
        coupling: K = J/kT, scalar.
        field: h, a vector ``[2]`` for all sites or ``[*shape, 2]`` for each; None for no field.

    Raises:
        ValueError: no Lattice, no such q, or couplings that are no finite numbers or have another shape.

    Example:
        >>> from jaxrg import lattice
        >>> model = Clock(lattice.hypercubic((4, 4)), 6, 0.5)
        >>> float(model.hamiltonian(jnp.zeros((4, 4), jnp.int8)))
        -16.0
    """

    lattice: Lattice
    num_states: int
    coupling: Array | float
    field: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_states", self.sites.num_states)
        planar = XY(self.lattice, self.coupling, self.field)
        object.__setattr__(self, "coupling", planar.coupling)
        object.__setattr__(self, "field", planar.field)

    def _planar(self) -> XY:
        return XY(self.lattice, self.coupling, self.field)

    def angles(self, spins: Array) -> Array:
        r"""``[*shape]`` :math:`2\pi s/q` in :math:`[-\pi, \pi)`."""
        dtype = jnp.asarray(self.coupling).dtype
        turns = np.arange(self.num_states) / self.num_states
        table = jnp.asarray(2 * math.pi * (turns - (turns >= 0.5)), dtype)
        return table[spins]

    @of_sites
    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[*shape]``."""
        return self._planar().action(self.angles(spins))

    @of_sites
    def local_field(self, spins: Array) -> Array:
        r"""``[q, *shape]`` :math:`f_s = f\cdot u(s)` of the planar spin: P(s) is ∝ :math:`e^{f_s}`."""
        planar = self._planar().local_field(self.angles(spins))
        angles = self.angles(jnp.arange(self.num_states)).reshape(-1, *[1] * spins.ndim)
        return planar[:1] * jnp.cos(angles) + planar[1:] * jnp.sin(angles)

    @of_sites
    def observables(self, spins: Array) -> PhaseObservables:
        """Energy in units of J, mean spin, helicity modulus and density of vortices."""
        return self._planar().observables(self.angles(spins))

    def reflection(self, turn: Array, spins: Array) -> Reflection:
        r"""The image :math:`s \to r - s` in one of the q mirrors, each for an equal part of the way of ``turn``."""
        mirror = jnp.minimum((turn * self.num_states).astype(jnp.int32), self.num_states - 1)
        coupling = jnp.asarray(self.coupling)
        # `XY` takes the angle of the normal of the mirror, as a part of pi.
        normal = mirror.astype(coupling.dtype) / self.num_states - 0.5
        found = self._planar().reflection(normal, self.angles(spins))
        return found._replace(reflected=jnp.mod(mirror - spins.astype(jnp.int32), self.num_states).astype(jnp.int8))
