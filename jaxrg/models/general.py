"""The general translation-invariant Hamiltonian, a sum of operators with a coupling each."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import kind_of
from jaxrg.lattice import Operators, evaluate, sublattice_colouring
from jaxrg.models.construction import as_couplings, of_spins, pytree
from jaxrg.models.observables import reduced_observables


@functools.cache
def _colours(operators: Operators) -> np.ndarray:
    return sublattice_colouring(operators.lattice, operators.interaction_offsets)


@pytree(data_fields=("couplings",), meta_fields=("operators",))
@dataclasses.dataclass(frozen=True)
class OperatorModel:
    r"""Reduced Hamiltonian in a basis of operators.

    .. math:: H(s) = -\sum_a K_a O_a(s)

    ``observables(...).energy`` is the reduced H(s)/N, as the couplings share no unit: twice K in size where an `Ising`
    model of the same coupling reports 2, its energy in units of J.

    Attributes:
        operators: the basis, static.
        couplings: K, ``[num_operators]``, dimensionless.

    Raises:
        ValueError: no Operators, or couplings that are no finite numbers or not one for each operator.

    Example:
        >>> from jaxrg import lattice
        >>> basis = lattice.standard_operators(lattice.hypercubic((4, 4)), ["nearest_neighbour", "plaquette"])
        >>> float(OperatorModel(basis, jnp.array([0.5, 0.25])).hamiltonian(jnp.ones((4, 4), jnp.int8)))
        -20.0
    """

    operators: Operators
    couplings: Array

    def __post_init__(self) -> None:
        if not isinstance(self.operators, Operators):
            raise ValueError(f"operators: expected a basis of lattice.operators, got {kind_of(self.operators)}")
        object.__setattr__(self, "couplings", as_couplings("couplings", self.couplings, (len(self.operators),)))

    @property
    def lattice(self):
        return self.operators.lattice

    @property
    def shape(self) -> tuple[int, ...]:
        return self.operators.lattice.shape

    @property
    def colours(self) -> np.ndarray:
        """``[*shape]`` sublattice of each site; sites of one sublattice share no operator."""
        return _colours(self.operators)

    @property
    def num_colours(self) -> int:
        return int(self.colours.max()) + 1

    @of_spins
    def hamiltonian(self, spins: Array) -> Array:
        """Reduced Hamiltonian H(s) of one configuration ``[*shape]``."""
        return -jnp.dot(self.couplings, evaluate(self.operators, spins).astype(self.couplings.dtype))

    @of_spins
    def local_field(self, spins: Array) -> Array:
        r"""``[*shape]`` :math:`f_x = -\partial H/\partial s_x`; exact, as H is linear in every single spin."""
        return -jax.grad(self.hamiltonian)(spins.astype(self.couplings.dtype))

    observables = of_spins(reduced_observables)
