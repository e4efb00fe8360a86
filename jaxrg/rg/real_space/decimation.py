"""Exact decimation: of the chain in a field, and of half the sites of the square lattice."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_count, as_floating_alike, as_parameter, check_shape


class ChainCouplings(NamedTuple):
    """Couplings of an Ising chain, :math:`-H = K \\sum_i s_i s_{i+1} + h \\sum_i s_i` + constant per site.

    Attributes:
        coupling: scalar K.
        field: scalar h.
        constant: scalar, ln of the weight that each remaining site carries.
    """

    coupling: Array
    field: Array
    constant: Array


def decimate_chain(coupling: Array | float, field: Array | float = 0.0, rescaling: int = 2) -> ChainCouplings:
    r"""Couplings of every b-th spin of an Ising chain in a field, the others summed over.

    .. math:: T^b = e^{c'}\, T', \qquad T_{ss'} = e^{K s s' + h (s + s')/2}, \qquad \ln Z_N(K, h) = \ln Z_{N/b}(K', h')
        + \frac{N}{b} c'

    Without a field, :math:`\tanh K' = \tanh^b K`.

    Args:
        coupling: scalar K.
        field: scalar h.
        rescaling: b >= 1.

    Raises:
        ValueError: no finite scalars, or a rescaling that is no whole number.

    Example:
        >>> found = decimate_chain(0.5, 0.0, 2)
        >>> round(float(jnp.tanh(found.coupling)), 6), round(float(jnp.tanh(0.5) ** 2), 6)
        (0.213552, 0.213552)

    Reference:
        Nelson & Fisher, Ann. Phys. 91, 226 (1975).
    """
    strength, tilt = as_floating_alike(coupling=as_parameter("coupling", coupling), field=as_parameter("field", field))
    check_shape("coupling", strength, ())
    check_shape("field", tilt, ())
    return _decimate_chain(strength, tilt, as_count("rescaling", rescaling))


@functools.partial(jax.jit, static_argnums=2)
def _decimate_chain(coupling: Array, field: Array, rescaling: int) -> ChainCouplings:
    down, mixed, up = coupling - field, -coupling, coupling + field
    once = jnp.stack([jnp.stack([down, mixed]), jnp.stack([mixed, up])])  # ln T

    def product(left: Array, right: Array) -> Array:
        return jax.nn.logsumexp(left[:, :, None] + right[None], axis=1)

    total = once
    for bit in bin(rescaling)[3:]:
        total = product(total, total)
        total = product(total, once) if bit == "1" else total
    (down, mixed), (_, up) = total
    return ChainCouplings((down + up - 2 * mixed) / 4, (up - down) / 2, (down + up + 2 * mixed) / 4)


class SquareDecimation(NamedTuple):
    """Couplings between the remaining spins of a square lattice, each for one pair or plaquette.

    Attributes:
        nearest_neighbour: scalar K'.
        next_nearest_neighbour: scalar L'.
        plaquette: scalar of four spins.
        constant: scalar, for each remaining site.
    """

    nearest_neighbour: Array
    next_nearest_neighbour: Array
    plaquette: Array
    constant: Array


def decimate_square(coupling: Array | float) -> SquareDecimation:
    r"""Couplings of one sublattice of the square lattice, lengths shrunk by √2: the other's spins are summed over.

    .. math:: K' = \tfrac14 \ln\cosh 4K, \qquad L' = \tfrac18 \ln\cosh 4K, \qquad
        M' = \tfrac18 \ln\cosh 4K - \tfrac12 \ln\cosh 2K

    Exact, from nearest neighbours alone. A flow needs a truncation, such as K' + L' for the next K, which keeps the
    energy of the ordered state.

    Args:
        coupling: scalar K of nearest neighbours.

    Raises:
        ValueError: no finite scalar.

    Example:
        >>> round(float(decimate_square(0.4406868).nearest_neighbour), 5)
        0.27465

    Reference:
        Maris & Kadanoff, Am. J. Phys. 46, 652 (1978).
    """
    strength = as_parameter("coupling", coupling)
    check_shape("coupling", strength, ())
    return _decimate_square(strength)


@jax.jit
def _decimate_square(coupling: Array) -> SquareDecimation:
    four, two = _log_cosh(4 * coupling), _log_cosh(2 * coupling)
    constant = math.log(2) + four / 8 + two / 2
    return SquareDecimation(four / 4, four / 8, four / 8 - two / 2, constant)


def _log_cosh(x: Array) -> Array:
    return jnp.logaddexp(x, -x) - math.log(2)
