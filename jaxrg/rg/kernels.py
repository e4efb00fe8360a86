r"""Kernels ln T(h\|s) for `jaxrg.exact.coarse_grain`: majority, decimation, Kadanoff's, Gaussian, Boltzmann machines.

Each function returns a `jaxrg.base.LogKernel`, ``log_kernel(coarse, fine)``, of which new couplings compile nothing.
Any function of two configurations is one too; `jaxrg.rg.kernel_matching` says how far from normalised it is.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg import rbm
from jaxrg.base import Hamiltonian, LogKernel
from jaxrg.checks import as_count, as_floating, check_function, check_number, check_shape
from jaxrg.closures import as_partial
from jaxrg.lattice import block_shape, to_blocks
from jaxrg.rbm.energy import as_spin_machine, field_on_hidden, hidden_features, visible_features
from jaxrg.rg.blocking import as_linear, as_strength, tilt


@functools.partial(jax.tree_util.register_dataclass, data_fields=["log_weight"], meta_fields=["block"])
@dataclasses.dataclass(frozen=True)
class BlockKernel:
    r"""A kernel of blocks that do not see each other: a `jaxrg.base.LogKernel` that sums over them.

    .. math:: \ln T(h|s) = \sum_B \ln t(h_B|s_B)

    Attributes:
        block: side of a block, a divisor of every side of s.
        log_weight: ``log_weight(h, spins)``, ln t of one coarse spin and the sites ``[block**ndim]`` of its block in
            row-major order.
    """

    block: int
    log_weight: Partial

    def __call__(self, coarse: Array, fine: Array) -> Array:
        check_shape("coarse", coarse, block_shape(fine.shape, self.block))
        blocks = to_blocks(fine, self.block)
        return jnp.sum(jax.vmap(self.log_weight)(coarse.reshape(-1), blocks.reshape(-1, blocks.shape[-1])))


def block_kernel(log_weight: Callable[[Array, Array], Array], block: int = 2) -> BlockKernel:
    r"""A kernel of any function ln t of one coarse spin and its block, summed over blocks.

    Args:
        log_weight: ``log_weight(h, spins)``, a scalar; -inf is zero probability.
        block: side of a block.

    Example:
        >>> kernel = block_kernel(lambda h, spins: jnp.where(h == spins[-1], 0.0, -jnp.inf))  # keep the last site
        >>> float(kernel(jnp.array([[1]]), jnp.array([[-1, 1], [-1, 1]])))
        0.0
    """
    check_function("log_weight", log_weight, of="a coarse spin and its block")
    return BlockKernel(as_count("block", block), as_partial(log_weight))


def majority_kernel(block: int = 2, *, is_random: bool = True) -> BlockKernel:
    r"""ln T(h\|s) of the majority rule: 0 for the majority, -inf against it, summed over blocks.

    Args:
        block: side of a block, a divisor of every side of s.
        is_random: whether a fair coin breaks ties, -ln 2 for either side; otherwise the first site of the block does,
            as in `majority` without a key.

    Example:
        >>> fine = jnp.array([[1, 1, 1, -1], [1, -1, 1, -1]])  # a majority and a tie
        >>> round(float(majority_kernel(2)(jnp.array([[1, -1]]), fine)), 4)  # -ln 2
        -0.6931
        >>> float(majority_kernel(2, is_random=False)(jnp.array([[1, -1]]), fine))
        -inf
    """
    if not isinstance(is_random, bool):
        raise ValueError(f"is_random: expected True or False, got {is_random!r}")
    return block_kernel(_majority if is_random else _majority_or_first, block)


def _agreement(h: Array, spins: Array) -> Array:
    return jnp.sum(spins, dtype=jnp.int32) * h.astype(jnp.int32)


def _majority(h: Array, spins: Array) -> Array:
    agreement = _agreement(h, spins)
    return jnp.where(agreement > 0, 0.0, jnp.where(agreement == 0, -math.log(2), -jnp.inf))


def _majority_or_first(h: Array, spins: Array) -> Array:
    agreement = _agreement(h, spins)
    return jnp.where((agreement > 0) | ((agreement == 0) & (spins[0] == h)), 0.0, -jnp.inf)


def decimation_kernel(block: int = 2) -> BlockKernel:
    r"""ln T(h\|s) of decimation: 0 where h is the first site of every block of s, else -inf.

    Args:
        block: side of a block, a divisor of every side of s.

    Example:
        >>> [float(decimation_kernel(2)(coarse, jnp.array([1, -1]))) for coarse in jnp.array([[1], [-1]])]
        [0.0, -inf]
    """
    return block_kernel(_decimation, block)


def _decimation(h: Array, spins: Array) -> Array:
    return jnp.where(spins[0] == h, 0.0, -jnp.inf)


def kadanoff_kernel(parameter: Array | float, block: int = 2) -> BlockKernel:
    r"""Kadanoff's normalised kernel, a majority rule at a finite temperature.

    .. math:: \ln T(h|s) = \sum_B \Bigl[p\, h_B \sum_{i \in B} s_i - \ln 2\cosh\Bigl(p \sum_{i \in B} s_i\Bigr)\Bigr]

    Args:
        parameter: scalar p, traced and differentiable; infinity gives the majority rule with coins.
        block: side of a block, a divisor of every side of s.

    Example:
        >>> fine, coarse = jnp.array([[1, 1], [1, -1]]), jnp.array([[1]])
        >>> round(float(kadanoff_kernel(0.5)(coarse, fine)), 4)  # -ln(1 + e^-2)
        -0.1269

    Reference:
        Kadanoff, Phys. Rev. Lett. 34, 1005 (1975); Kadanoff, Houghton & Yalabik, J. Stat. Phys. 14, 171 (1976).
    """
    return block_kernel(Partial(_kadanoff, as_strength(parameter)), block)


def _kadanoff(parameter: Array, h: Array, spins: Array) -> Array:
    return -jax.nn.softplus(-2 * tilt(parameter, _agreement(h, spins)))


def gaussian_kernel(factor: Array | float, width: Array | float, block: int = 2) -> BlockKernel:
    r"""The linear block transformation of a field, with Gaussian noise: a normalised density of the coarse field.

    .. math:: \ln T(\varphi'|\varphi) = -\sum_B \Bigl[\frac{(\varphi'_B - c\, \bar\varphi_B)^2}{2 w^2}
        + \frac12 \ln 2\pi w^2\Bigr], \qquad \bar\varphi_B = b^{-d} \sum_{x \in B} \varphi_x

    With :math:`c = b^{(d - 2 + \eta)/2}` it has a fixed point. `block_means` draws from it.

    Args:
        factor: scalar c.
        width: scalar w > 0 of the noise.
        block: side b of a block, a divisor of every side of the field.

    Example:
        >>> kernel = gaussian_kernel(2.0, 0.5)
        >>> round(float(kernel(jnp.array([[1.0]]), jnp.array([[0.0, 1.0], [2.0, -1.0]]))), 4)  # -ln(2 pi w^2) / 2
        -0.2258

    Reference:
        Bell & Wilson, Phys. Rev. B 10, 3935 (1974).
    """
    check_number("width", width, above=0)
    return block_kernel(Partial(_gaussian, *as_linear(factor, width)), block)


def _gaussian(factor: Array, width: Array, h: Array, field: Array) -> Array:
    value, sites = as_floating("coarse", h), as_floating("fine", field)
    dtype = functools.reduce(jnp.promote_types, (factor.dtype, value.dtype, sites.dtype))
    factor, width, value, sites = (number.astype(dtype) for number in (factor, width, value, sites))
    deviation = (value - factor * jnp.mean(sites)) / width
    return -(deviation**2) / 2 - jnp.log(width) - math.log(2 * math.pi) / 2


def machine_kernel(machine: rbm.RBM, hamiltonian: Hamiltonian) -> LogKernel:
    r"""Mehta and Schwab's :math:`\ln T(h|s) = H(s) - E(s,h)`; in general not normalised: ρ(s) differs from 1.

    Args:
        machine: hidden units are the coarse spins ``[num_hidden]``, visible ones the sites of s in row-major order.
        hamiltonian: the reduced H that it is to coarse-grain; where it is +inf, which forbids s, the weight is zero.
    """
    check_function("hamiltonian", hamiltonian, of="one configuration")
    return Partial(_machine_log_weight, as_spin_machine(machine), as_partial(hamiltonian))


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
    return Partial(_normalized_log_weight, as_spin_machine(machine))


def _normalized_log_weight(machine: rbm.RBM, coarse: Array, fine: Array) -> Array:
    check_shape("coarse", coarse, machine.hidden_bias.shape)
    check_shape("fine", fine.reshape(-1), machine.visible_bias.shape)
    field = field_on_hidden(machine, visible_features(machine, fine.reshape(-1)))
    return hidden_features(machine, coarse) @ field - jnp.sum(machine.hidden_units.log_partition(field))
