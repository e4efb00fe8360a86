r"""Block kernels ln T(h\|s) for `jaxrg.exact.coarse_grain`: majority, decimation and Boltzmann machines.

Each function returns a `jaxrg.base.LogKernel`, ``log_kernel(coarse, fine)``, of which new couplings compile nothing.
"""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg import rbm
from jaxrg.base import Hamiltonian, LogKernel
from jaxrg.checks import as_count, check_function, check_shape
from jaxrg.closures import as_partial
from jaxrg.lattice import block_shape, to_blocks
from jaxrg.rbm.energy import as_machine, hidden_field, log_two_cosh, spin_values
from jaxrg.rg.blocking import first_sites


@functools.cache
def _of_blocks(log_weight: Callable, block: int) -> LogKernel:
    # The same object for the same block, so that it is compiled once.
    return Partial(functools.partial(log_weight, block))


def majority_kernel(block: int = 2) -> LogKernel:
    r"""ln T(h\|s) of the majority rule: 0 for the majority, -ln 2 for either side of a tie, -inf against it, summed.

    Args:
        block: side of a block, a divisor of every side of s.

    Example:
        >>> fine = jnp.array([[1, 1, 1, -1], [1, -1, 1, -1]])  # a majority and a tie
        >>> round(float(majority_kernel(2)(jnp.array([[1, -1]]), fine)), 4)  # -ln 2
        -0.6931
    """
    return _of_blocks(_majority_log_weight, as_count("block", block))


def _majority_log_weight(block: int, coarse: Array, fine: Array) -> Array:
    check_shape("coarse", coarse, block_shape(fine.shape, block))
    agreement = jnp.sum(to_blocks(fine, block), axis=-1, dtype=jnp.int32) * coarse.astype(jnp.int32)
    return jnp.sum(jnp.where(agreement > 0, 0.0, jnp.where(agreement == 0, -math.log(2), -jnp.inf)))


def decimation_kernel(block: int = 2) -> LogKernel:
    r"""ln T(h\|s) of decimation: 0 where h is the first site of every block of s, else -inf.

    Args:
        block: side of a block, a divisor of every side of s.

    Example:
        >>> [float(decimation_kernel(2)(coarse, jnp.array([1, -1]))) for coarse in jnp.array([[1], [-1]])]
        [0.0, -inf]
    """
    return _of_blocks(_decimation_log_weight, as_count("block", block))


def _decimation_log_weight(block: int, coarse: Array, fine: Array) -> Array:
    check_shape("coarse", coarse, block_shape(fine.shape, block))
    return jnp.where(jnp.all(first_sites(fine, block) == coarse), 0.0, -jnp.inf)


def machine_kernel(machine: rbm.RBM, hamiltonian: Hamiltonian) -> LogKernel:
    r"""Mehta and Schwab's :math:`\ln T(h|s) = H(s) - E(s,h)`; in general not normalised: ρ(s) differs from 1.

    Args:
        machine: hidden units are the coarse spins ``[num_hidden]``, visible ones the sites of s in row-major order.
        hamiltonian: the reduced H that it is to coarse-grain; where it is +inf, which forbids s, the weight is zero.
    """
    check_function("hamiltonian", hamiltonian, of="one configuration")
    return Partial(_machine_log_weight, as_machine(machine), as_partial(hamiltonian))


def _machine_log_weight(machine: rbm.RBM, hamiltonian: Hamiltonian, coarse: Array, fine: Array) -> Array:
    energy = rbm.energy(machine, fine.reshape(-1), coarse)
    fine_energy = jnp.asarray(hamiltonian(fine))
    dtype = jnp.promote_types(energy.dtype, fine_energy.dtype)
    is_forbidden = fine_energy == jnp.inf
    # Zero before the difference too: the derivative of what is not chosen would be NaN.
    allowed = jnp.where(is_forbidden, 0, fine_energy).astype(dtype) - energy.astype(dtype)
    return jnp.where(is_forbidden, -jnp.inf, allowed)


def normalized_machine_kernel(machine: rbm.RBM) -> LogKernel:
    r""":math:`\ln T(h|s) = \ln p(h|s) = \sum_a [h_a x_a - \ln 2\cosh x_a]` with :math:`x = b + W^T s`: ρ(s) = 1.

    With one equal weight p on each block it is Kadanoff's lower-bound kernel. The free energy is conserved for every
    weight, which therefore does not choose useful hidden spins by itself (Lin, Tegmark & Rolnick, arXiv:1608.08225).

    Args:
        machine: hidden units are the coarse spins ``[num_hidden]``, visible ones the sites of s in row-major order.
    """
    return Partial(_normalized_log_weight, as_machine(machine))


def _normalized_log_weight(machine: rbm.RBM, coarse: Array, fine: Array) -> Array:
    check_shape("coarse", coarse, machine.hidden_bias.shape)
    check_shape("fine", fine.reshape(-1), machine.visible_bias.shape)
    field = hidden_field(machine, spin_values(machine, fine.reshape(-1)))
    return spin_values(machine, coarse) @ field - jnp.sum(log_two_cosh(field))
