"""Scaling dimensions, spins and the central charge of a coarse-grained tensor, and where along a flow they are read."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_floating
from jaxrg.rg.tensor.contraction import einsum, matmul, tensordot
from jaxrg.rg.tensor.krylov import Leading, leading, num_vectors
from jaxrg.rg.tensor.network import Checkerboard, Tensor, as_tensor, turned
from jaxrg.tables import MAX_BYTES, check_bytes

BLOCK, NUM_BLOCKS = 4, 16  # of Arnoldi's iteration: levels meet in pairs of opposite spins


class Spectrum(NamedTuple):
    """What a ring of n tensors says of the critical theory.

    Attributes:
        dimensions: ``[num_levels]`` scaling dimensions x, rising from 0.
        spins: ``[num_levels]`` conformal spin modulo n, in (-n/2, n/2]: whole numbers where the tensor has settled.
        central_charge: scalar c.
    """

    dimensions: Array
    spins: Array
    central_charge: Array


def transfer_spectrum(tensor: Tensor | Checkerboard, num_levels: int, *, num_tensors: int = 2) -> Spectrum:
    r"""Scaling dimensions, spins and central charge from one row of n tensors closed to a ring and shifted by one.

    .. math:: \lambda_i\, e^{2\pi i s_i / n}: \quad x_i = \frac{n}{2\pi} \ln\frac{\lambda_0}{\lambda_i}, \qquad
        \frac{\pi c}{2 n} = 2\ln\lambda_0^{(n/2)} - \ln\lambda_0^{(n)}

    A ring of n critical tensors, as wide as they are high, has :math:`\ln\lambda_i = n f + \frac{2\pi}{n}(c/12 - x_i)`.
    The unknown f drops out between two rings, so that neither the factor nor the gauge of the tensor matters. The shift
    by one tensor turns the spin into a phase. What truncation does to a tensor matters less on the wider ring. A
    checkerboard has no ring of one tensor; there the ring of one along the diagonal, as wide as it is high after two
    tensors, takes its place, :math:`\frac{\pi c}{12} = \ln\lambda_0^{(\sqrt 2)} - \ln\lambda_0^{(2)}`. Levels lie where
    they should on a plateau of steps only: see `plateau`.

    Args:
        tensor: of a square network, after steps that leave it as wide as it is high: every step of `trg`, `btrg` and
            `loop_tnr`, every second one of `hotrg`.
        num_levels: eigenvalues returned, at most χ², and 16 of a ring of four with χ > 2.
        num_tensors: n, 2 with all eigenvalues of a matrix ``[χ², χ²]``, or 4 with the leading ones of ``[χ^4]`` by
            Arnoldi's iteration.

    Returns:
        Dimensions, spins and central charge. CPU only, as are eigenvalues of matrices without symmetry in JAX.

    Raises:
        ValueError: no Tensor with its number of sites and four legs, more levels than there are, another ring, or
            one that needs more than 2 GiB.

    Example:
        >>> from jaxrg import exact
        >>> from jaxrg.rg.tensor import ising_tensor, trg
        >>> flow = trg(ising_tensor(exact.critical_coupling), 8, 6, observe=lambda t: transfer_spectrum(t, 3))
        >>> [round(float(x), 1) for x in flow.observed.dimensions[-1]]  # 0, 1/8, 1
        [0.0, 0.1, 1.0]

    Reference:
        Gu & Wen, Phys. Rev. B 80, 155131 (2009).
    """
    given = as_tensor("tensor", tensor, is_checkerboard=True)
    if given.entries.ndim != 4:
        raise ValueError(f"tensor.entries: expected 4 legs, got shape {given.entries.shape}")
    levels, ring = as_count("num_levels", num_levels), as_count("num_tensors", num_tensors)
    if ring not in (2, 4):
        raise ValueError(f"num_tensors: expected 2 or 4, got {ring}")
    wide, tall = given.entries.shape[:2]
    kept = num_vectors(tall**4, BLOCK, NUM_BLOCKS)
    most = tall**2 if ring == 2 or kept == tall**4 else NUM_BLOCKS
    if levels > most:
        raise ValueError(f"num_levels: expected at most {most} of a ring of {ring} tensors, got {levels}")
    words = 8 * tall**4 if ring == 2 else (4 * wide**2 + 3 * kept) * tall**4
    check_bytes(
        "tensor", given.entries.dtype.itemsize * words, MAX_BYTES, f"a ring of {ring} tensors {given.entries.shape}"
    )
    return _spectrum(given.entries, levels, ring, isinstance(given, Checkerboard))


@functools.partial(jax.jit, static_argnames=("num_levels", "num_tensors", "is_checkerboard"))
def _spectrum(entries: Array, num_levels: int, num_tensors: int, is_checkerboard: bool) -> Spectrum:
    tall = entries.shape[1]
    other = turned(entries) if is_checkerboard else entries
    pair = einsum("lurd,rvle->uved", entries, other).reshape(tall**2, tall**2)
    of_pair = jnp.linalg.eigvals(pair)
    log_of_pair = jnp.log(jnp.max(jnp.abs(of_pair)))
    if num_tensors == 4:
        values = of_four(entries, other, num_levels).values
        log_largest = jnp.log(jnp.max(jnp.abs(values)))
        central_charge = 8 / math.pi * (2 * log_of_pair - log_largest)
    elif is_checkerboard:
        values, size = of_pair, tall**2
        diagonal = matmul(entries.reshape(size, size), other.reshape(size, size))
        log_of_diagonal = jnp.log(jnp.max(jnp.abs(jnp.linalg.eigvals(diagonal))))
        central_charge = 12 / math.pi * (log_of_diagonal - log_of_pair)
    else:
        values, one = of_pair, jnp.linalg.eigvals(jnp.trace(entries, axis1=0, axis2=2))
        central_charge = 4 / math.pi * (2 * jnp.log(jnp.max(jnp.abs(one))) - log_of_pair)
    order = jnp.argsort(-jnp.abs(values))[:num_levels]
    sizes, scale = jnp.abs(values)[order], num_tensors / (2 * math.pi)
    return Spectrum(scale * jnp.log(sizes[0] / sizes), scale * jnp.angle(values[order]), central_charge)


def of_four(entries: Array, other: Array, num_levels: int) -> Leading:
    """Of a row of four tensors and a shift by one: the first leg below it is moved to the end."""
    tall = entries.shape[1]

    def row(vector: Array) -> Array:
        legs = tensordot(entries, vector.reshape((tall,) * 4), ((1,), (0,)))  # l r d uuu
        legs = jnp.moveaxis(legs, 2, -1)
        for each in (other, entries, other):
            legs = jnp.moveaxis(tensordot(legs, each, ((1, 2), (0, 1))), -2, 1)  # l r u.. d..
        return jnp.moveaxis(jnp.trace(legs, axis1=0, axis2=1), 0, -1).reshape(-1)

    return leading(row, tall**4, num_levels, entries.dtype, block=BLOCK, num_blocks=NUM_BLOCKS)


class Plateau(NamedTuple):
    """A value read off the steps of a flow.

    Attributes:
        value: mean over the window.
        drift: largest minus smallest value in the window, a systematic error.
        start: first step of the window.
    """

    value: Array
    drift: Array
    start: Array


def plateau(values: ArrayLike | Sequence[float], *, width: int = 4) -> Plateau:
    """The window of ``width`` steps in which a quantity changes least, relative to its mean; never just the last step.

    Every flow of finite χ leaves criticality in the end, and its first steps carry the lattice: the window is between.
    Of windows that change alike the first is taken.

    Args:
        values: ``[num_steps]`` of one quantity; windows with an infinite value or a mean of 0 are none.
        width: steps of the window.

    Returns:
        Mean, drift and first step; nan and -1 where there is no window, or a value is nan.

    Raises:
        ValueError: values that are no ``[num_steps]``, or fewer steps than a window has.

    Example:
        >>> found = plateau([0.3, 0.13, 0.126, 0.125, 0.126, 0.2, 0.4], width=3)
        >>> round(float(found.value), 4), round(float(found.drift), 4), int(found.start)
        (0.1257, 0.001, 2)
    """
    array, size = as_floating("values", values), as_count("width", width, minimum=2)
    if array.ndim != 1 or array.shape[0] < size:
        raise ValueError(f"values: expected at least {size} steps [num_steps], got shape {array.shape}")
    return _plateau(array, size)


@functools.partial(jax.jit, static_argnames="width")
def _plateau(values: Array, width: int) -> Plateau:
    windows = values[np.arange(values.shape[0] - width + 1)[:, None] + np.arange(width)[None, :]]
    means, spread = jnp.mean(windows, axis=1), jnp.max(windows, axis=1) - jnp.min(windows, axis=1)
    is_window = jnp.isfinite(spread) & (means != 0)
    change = jnp.where(is_window, spread / jnp.where(is_window, jnp.abs(means), 1), jnp.inf)
    start = jnp.argmin(change)
    found = is_window[start] & ~jnp.any(jnp.isnan(values))
    return Plateau(
        jnp.where(found, means[start], jnp.nan), jnp.where(found, spread[start], jnp.nan), jnp.where(found, start, -1)
    )
