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
from jaxrg.rg.tensor.decompositions import HIGHEST
from jaxrg.rg.tensor.network import Checkerboard, Tensor, as_tensor, turned


class Spectrum(NamedTuple):
    """What a ring of two tensors says of the critical theory.

    Attributes:
        dimensions: ``[num_levels]`` scaling dimensions x, rising from 0.
        spins: ``[num_levels]`` conformal spin modulo 2, in (-1, 1]: 0 or 1 where the tensor has settled.
        central_charge: scalar c.
    """

    dimensions: Array
    spins: Array
    central_charge: Array


def transfer_spectrum(tensor: Tensor | Checkerboard, num_levels: int) -> Spectrum:
    r"""Scaling dimensions, spins and central charge from one row of two tensors closed to a ring and shifted by one.

    .. math:: \lambda_i\, e^{i\pi s_i}: \quad x_i = \frac{2}{2\pi} \ln\frac{\lambda_0}{\lambda_i}, \qquad
        \frac{\pi c}{4} = 2\ln\lambda_0^{(1)} - \ln\lambda_0^{(2)}

    A ring of n critical tensors, as wide as they are high, has :math:`\ln\lambda_i = n f + \frac{2\pi}{n}(c/12 - x_i)`.
    The unknown f drops out between the rings of one and of two, so that neither the factor nor the gauge of the tensor
    matters. The shift by one tensor turns the spin into a phase. A checkerboard has no ring of one tensor; there the
    ring of one along the diagonal, as wide as it is high after two tensors, takes its place,
    :math:`\frac{\pi c}{12} = \ln\lambda_0^{(\sqrt 2)} - \ln\lambda_0^{(2)}`. Levels lie where they should on a plateau
    of steps only: see `plateau`.

    Args:
        tensor: of a square network, after steps that leave it as wide as it is high: every step of `trg`, `btrg` and
            `loop_tnr`, every second one of `hotrg`.
        num_levels: eigenvalues returned, at most χ².

    Returns:
        Dimensions, spins and central charge. CPU only, as are eigenvalues of matrices without symmetry in JAX.

    Raises:
        ValueError: no Tensor with its number of sites and four legs, or more levels than there are.

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
    levels, most = as_count("num_levels", num_levels), given.entries.shape[1] ** 2
    if levels > most:
        raise ValueError(f"num_levels: expected at most the {most} of a ring of two tensors, got {levels}")
    if isinstance(given, Checkerboard):
        return _spectrum_of_checkerboard(given.entries, levels)
    return _spectrum(given.entries, levels)


@functools.partial(jax.jit, static_argnames="num_levels")
def _spectrum(entries: Array, num_levels: int) -> Spectrum:
    tall = entries.shape[1]
    one = jnp.trace(entries, axis1=0, axis2=2)
    shifted = jnp.einsum("lurd,rvle->uved", entries, entries, precision=HIGHEST).reshape(tall**2, tall**2)
    dimensions, phases, log_largest = _levels(shifted, num_levels)
    largest = jnp.max(jnp.abs(jnp.linalg.eigvals(one)))
    return Spectrum(dimensions, phases, 4 / math.pi * (2 * jnp.log(largest) - log_largest))


@functools.partial(jax.jit, static_argnames="num_levels")
def _spectrum_of_checkerboard(entries: Array, num_levels: int) -> Spectrum:
    size, other = len(entries) ** 2, turned(entries)
    shifted = jnp.einsum("abcd,cBaD->bBDd", entries, other, precision=HIGHEST).reshape(size, size)
    dimensions, phases, log_largest = _levels(shifted, num_levels)
    diagonal = jnp.matmul(entries.reshape(size, size), other.reshape(size, size), precision=HIGHEST)
    largest = jnp.max(jnp.abs(jnp.linalg.eigvals(diagonal)))
    return Spectrum(dimensions, phases, 12 / math.pi * (jnp.log(largest) - log_largest))


def _levels(shifted: Array, num_levels: int) -> tuple[Array, Array, Array]:
    """Dimensions and spins of a ring of two tensors, and the logarithm of its largest eigenvalue."""
    values = jnp.linalg.eigvals(shifted)
    sizes = jnp.abs(values)
    order = jnp.argsort(-sizes)[:num_levels]
    sizes = sizes[order]
    return jnp.log(sizes[0] / sizes) / math.pi, jnp.angle(values[order]) / math.pi, jnp.log(sizes[0])


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
