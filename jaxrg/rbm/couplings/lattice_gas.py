"""Couplings of occupations: the Harsanyi dividends of -H of the visible layer."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.rbm.couplings.zero_sum import as_sets, of_known
from jaxrg.rbm.energy import RBM, as_machine, hidden_field
from jaxrg.rbm.units.spins import Binary, Spins
from jaxrg.tables import MAX_BYTES, check_bytes


def lattice_gas(machine: RBM, sets: Any) -> Array:
    r"""Couplings of sets of visible units as occupations n = 0 or 1, on a background of empty ones.

    .. math:: H(n) = -\sum_S J_S \prod_{i \in S} n_i, \qquad J_S = -\sum_{T \subseteq S} (-1)^{|S| - |T|} H(n_T)

    They are Harsanyi dividends, not the couplings of spins of `of_sets`: an Ising model with pairs alone has fields
    here too, and what is small in one gauge need not be so in the other.

    Args:
        machine: of visible `Binary` units, or `Spins` with n = (1 + v)/2, and any hidden ones.
        sets: ``[num_sets, k]`` indices of k different visible units each; the cost grows with 2^k.

    Returns:
        ``[num_sets]`` J; NaN where, inside a jit, a set is not of different units.

    Raises:
        ValueError: sets that are not of different units, or beyond the memory, or other visible units.

    Example:
        >>> machine = RBM(jnp.array([[1.0], [1.0]]), jnp.zeros(2), jnp.zeros(1), Binary(), Binary())
        >>> round(float(lattice_gas(machine, [[0, 1]])[0]), 4)  # ln(1 + e²) - 2 ln(1 + e) + ln 2
        0.1936

    Reference:
        Jansma, Phys. Rev. Res. 5, 023016 (2023).
    """
    machine = as_machine(machine)
    if not isinstance(machine.visible_units, Binary | Spins):
        raise ValueError(f"machine: expected visible units Binary or Spins, got {machine.visible_units}")
    sets = as_sets(sets, machine)
    num_bytes = 2 ** sets.shape[1] * (machine.num_visible + machine.num_hidden) * machine.weights.dtype.itemsize
    check_bytes("sets", num_bytes, MAX_BYTES, f"2**{sets.shape[1]} states of a set")
    return _lattice_gas(machine, sets)


@jax.jit
def _lattice_gas(machine: RBM, sets: Array) -> Array:
    occupied = np.array(list(itertools.product([0, 1], repeat=sets.shape[1])), np.int8)
    signs = jnp.asarray((-1.0) ** (sets.shape[1] - occupied.sum(1)), machine.weights.dtype)
    unit = 2 if isinstance(machine.visible_units, Spins) else 1  # by which an occupation changes φ

    def of_set(units: Array) -> Array:
        def hidden_terms(present: Array) -> Array:
            occupations = jnp.zeros(machine.num_visible, jnp.int8).at[units].set(present)
            field = hidden_field(machine, unit * occupations - (unit - 1))
            return machine.hidden_units.log_partition(field)

        # Hidden units one by one: in sums over all of them the digits of a coupling would be lost.
        return jnp.sum(jnp.tensordot(signs, jax.vmap(hidden_terms)(jnp.asarray(occupied)), 1, precision="highest"))

    found = jax.lax.map(of_set, sets)
    found = found + unit * machine.visible_bias[sets[:, 0]] if sets.shape[1] == 1 else found
    return of_known(found, sets, machine.num_visible)
