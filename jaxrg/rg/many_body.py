r"""Couplings of every set of spins, read from a table of H by the very transforms that explain networks.

In spins ±1 they are Walsh coefficients of -H, in occupations 0 or 1 (the lattice gas) its Harsanyi dividends: a network
whose players are present or absent is a lattice gas, and its interactions are the couplings.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_table, is_traced
from jaxrg.tables import subset_sizes
from jaxrg.transforms import moebius, num_bits, superset_moebius, superset_zeta, walsh


def _as_energies(energies: Array) -> Array:
    table = as_table("energies", energies)
    if not is_traced(table) and not np.all(np.isfinite(np.asarray(table))):
        raise ValueError("energies: expected finite values, got NaN or infinity, which no finite couplings give")
    return table


def ising_couplings(energies: Array) -> Array:
    r"""Couplings K of :math:`H(s) = -\sum_S K_S \prod_{i \in S} s_i`, for every set S of spins.

    Args:
        energies: ``[2**n]`` H in state-index order, as `jaxrg.exact.energies` and `jaxrg.exact.coarse_grain` give it;
            float64 to read small couplings.

    Returns:
        ``[2**n]``; bit i of the index says whether spin i belongs to S; entry 0 is minus the mean of H.

    Raises:
        ValueError: energies that are infinite or NaN, or not ``2**n`` of them.

    Example:
        >>> energies = jnp.array([-0.5, 0.5, 0.5, -0.5])  # H = -s_0 s_1 / 2
        >>> ising_couplings(energies).tolist()
        [0.0, 0.0, 0.0, 0.5]
    """
    return _ising_couplings(_as_energies(energies))


@jax.jit
def _ising_couplings(energies: Array) -> Array:
    return walsh(-energies)


def lattice_gas_couplings(energies: Array) -> Array:
    r"""Couplings J of :math:`H(n) = -\sum_S J_S \prod_{i \in S} n_i`, occupations :math:`n_i = (1 + s_i)/2`.

    They are the Harsanyi dividends of the game -H whose players are the occupied sites.

    Args:
        energies: ``[2**n]`` H in state-index order.

    Returns:
        ``[2**n]``; entry 0 is -H of the empty lattice.

    Raises:
        ValueError: energies that are infinite or NaN, or not ``2**n`` of them.

    Example:
        >>> lattice_gas_couplings(jnp.array([-0.5, 0.5, 0.5, -0.5])).tolist()
        [0.5, -1.0, -1.0, 2.0]
    """
    return _lattice_gas_couplings(_as_energies(energies))


@jax.jit
def _lattice_gas_couplings(energies: Array) -> Array:
    return moebius(-energies)


def _sizes(couplings: Array) -> Array:
    sizes = subset_sizes(num_bits(couplings)).astype(couplings.dtype)
    return sizes.reshape((1,) * (couplings.ndim - 1) + sizes.shape)


def ising_to_lattice_gas(couplings: Array) -> Array:
    r"""Lattice-gas couplings of Ising couplings, :math:`J_S = 2^{|S|} \sum_{T \supseteq S} (-1)^{|T|-|S|} K_T`.

    Args:
        couplings: ``[2**n]`` K of every set of spins, entry 0 included, or more such tables along leading axes. The
            powers of two magnify rounding: in float32 the J of ten spins carry errors of 1e-4 of the largest K.

    Returns:
        J, shaped like K.

    Raises:
        ValueError: no real numbers, or not ``2**n`` of them.

    Example:
        >>> ising_to_lattice_gas(jnp.array([0.0, 0.0, 0.0, 0.5])).tolist()
        [0.5, -1.0, -1.0, 2.0]
    """
    return _ising_to_lattice_gas(as_table("couplings", couplings))


@jax.jit
def _ising_to_lattice_gas(couplings: Array) -> Array:
    return jnp.exp2(_sizes(couplings)) * superset_moebius(couplings)


def lattice_gas_to_ising(couplings: Array) -> Array:
    r"""Ising couplings of lattice-gas couplings, :math:`K_S = \sum_{T \supseteq S} 2^{-|T|} J_T`.

    Args:
        couplings: ``[2**n]`` J of every set of sites, entry 0 included, or more such tables along leading axes.

    Returns:
        K, shaped like J.

    Raises:
        ValueError: no real numbers, or not ``2**n`` of them.

    Example:
        >>> lattice_gas_to_ising(jnp.array([0.5, -1.0, -1.0, 2.0])).tolist()
        [0.0, 0.0, 0.0, 0.5]
    """
    return _lattice_gas_to_ising(as_table("couplings", couplings))


@jax.jit
def _lattice_gas_to_ising(couplings: Array) -> Array:
    return superset_zeta(jnp.exp2(-_sizes(couplings)) * couplings)
