"""Two-point functions of a periodic lattice by fast Fourier transforms."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count, as_floating


def structure_factor(configuration: Array, *, num_axes: int | None = None) -> Array:
    r"""Structure factor of one configuration at every wave vector of its lattice.

    .. math:: S(k) = \frac1N \Big| \sum_x s_x e^{-i k \cdot x} \Big|^2, \qquad k_\mu = 2\pi n_\mu / L_\mu

    S(0) is N m², so that its mean is the susceptibility; the mean of S over all k is that of s². Float32 leaves an
    error of about 1e-6 of the largest entry.

    Args:
        configuration: ``[L_1, ..., L_d]`` numbers such as spins ±1, or ``[L_1, ..., L_d, ...]`` vectors, whose
            components are summed over.
        num_axes: d, if the configuration has components; None if all its axes are those of the lattice.

    Returns:
        ``[L_1, ..., L_d]``, in the order of ``jnp.fft.fftn``: n from 0 up, negative ones at the end.

    Raises:
        ValueError: no sites, or another number of axes than the configuration has.

    Example:
        >>> structure_factor(jnp.array([1, -1, 1, -1])).tolist()
        [0.0, 0.0, 4.0, 0.0]
    """
    return _structure_factor(*_as_lattice(configuration, num_axes))


def two_point_function(configuration: Array, *, num_axes: int | None = None) -> Array:
    r"""Two-point function of one configuration of a periodic lattice at every displacement.

    .. math:: G(r) = \frac1N \sum_x s_x \cdot s_{x+r}

    The inverse transform of `structure_factor`, whose arguments these are. For the connected function take the
    square of the mean magnetisation off the mean over many configurations.

    Returns:
        ``[L_1, ..., L_d]``; entry r is that of the displacement r modulo the sides.

    Example:
        >>> two_point_function(jnp.array([1, 1, -1, -1])).round(6).tolist()
        [1.0, 0.0, -1.0, 0.0]
    """
    return _two_point_function(*_as_lattice(configuration, num_axes))


def _as_lattice(configuration: Any, num_axes: int | None) -> tuple[Array, int]:
    array = as_floating("configuration", configuration)
    count = array.ndim if num_axes is None else as_count("num_axes", num_axes)
    if not (0 < count <= array.ndim and array.size):
        wanted = "a lattice" if num_axes is None else f"at least {count} axes"
        raise ValueError(f"configuration: expected {wanted} of one site or more, got shape {array.shape}")
    return array, count


@functools.partial(jax.jit, static_argnums=1)
def _structure_factor(configuration: Array, num_axes: int) -> Array:
    axes = tuple(range(num_axes))
    waves = jnp.fft.fftn(configuration, axes=axes)
    squares = jnp.square(waves.real) + jnp.square(waves.imag)
    return jnp.sum(squares, axis=tuple(range(num_axes, configuration.ndim))) / float(
        math.prod(configuration.shape[:num_axes])
    )


@functools.partial(jax.jit, static_argnums=1)
def _two_point_function(configuration: Array, num_axes: int) -> Array:
    return jnp.fft.ifftn(_structure_factor(configuration, num_axes)).real


def second_moment_correlation_length(structure_factor: Array, *, axis: int = 0) -> Array:
    r"""Correlation length from the two smallest wave vectors of a periodic lattice.

    .. math:: \xi = \frac{1}{2\sin(k_1/2)} \sqrt{\frac{S(0)}{S(k_1)} - 1}, \qquad k_1 = 2\pi/L

    For its error use `jaxrg.stats.gamma_method` or `jackknife` on a trace of structure factors, as functions of whose
    mean it is smooth where S(0) > S(k_1).

    Args:
        structure_factor: ``[L_1, ..., L_d]`` mean of `structure_factor` over configurations, disconnected; a cut along
            other axes serves as well, one along ``axis`` itself would be taken for a shorter lattice.
        axis: lattice axis along which ``k_1`` points.

    Returns:
        Scalar, in lattice spacings; ``inf`` where S(k_1) = 0, ``nan`` where noise makes S(0) < S(k_1).

    Raises:
        ValueError: fewer than two sites along ``axis``, or no such axis.

    Example:
        >>> float(second_moment_correlation_length(jnp.array([2.0, 1.0, 1.0, 1.0])))
        0.7071067690849304

    Reference:
        Cooper, Freedman & Preston, Nucl. Phys. B 210, 210 (1982).
    """
    array = as_floating("structure_factor", structure_factor)
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer) or not -array.ndim <= axis < array.ndim:
        raise ValueError(f"axis: expected one of the {array.ndim} axes, got {axis!r}")
    if array.shape[axis] < 2 or not array.size:
        raise ValueError(f"structure_factor: expected two sites or more along axis {axis}, got shape {array.shape}")
    return _second_moment_correlation_length(array, int(axis))


@functools.partial(jax.jit, static_argnums=1)
def _second_moment_correlation_length(structure_factor: Array, axis: int) -> Array:
    along = jnp.moveaxis(structure_factor, axis, 0).reshape(structure_factor.shape[axis], -1)[:, 0]
    return jnp.sqrt(along[0] / along[1] - 1) / (2 * math.sin(math.pi / along.size))
