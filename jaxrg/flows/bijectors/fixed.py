"""Transforms without parameters: wavelets, cells to channels, the logit, and scales of Fourier modes."""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.tree_util import register_static

from jaxrg.base import Bijector
from jaxrg.checks import as_floating, as_sides, check_number
from jaxrg.flows.bijectors.making import Event, beside_lanes, bijector, no_params


@register_static
@dataclasses.dataclass(frozen=True)
class Cells:
    """The fine and the coarse event, and whether cells are turned into averages and differences; static."""

    fine: Event
    coarse: Event
    is_haar: bool


def haar(event_shape: Sequence[int]) -> Bijector:
    r"""Haar's wavelets of every cell of 2 x ... x 2 sites, :math:`(a + b)/\sqrt2` and :math:`(a - b)/\sqrt2` an axis.

    ``(channels, *sides)`` becomes ``(2**d * channels, *sides / 2)``; the first channels are the averages. An orthogonal
    map: volumes stay.

    Raises:
        ValueError: no axes after the channels, or odd sides.

    Example:
        >>> cells, _ = haar((1, 2)).forward((), jnp.array([[3.0, 1.0]]))
        >>> jnp.round(cells * 2**0.5, 3).tolist()
        [[4.0], [2.0]]
    """
    return _cells(event_shape, is_haar=True)


def squeeze(event_shape: Sequence[int]) -> Bijector:
    """The sites of every cell of 2 x ... x 2 become channels of one site.

    ``(channels, *sides)`` becomes ``(2**d * channels, *sides / 2)``; the first channels are the cells' first sites, and
    the site's last axis counts slowest.

    Raises:
        ValueError: no axes after the channels, or odd sides.

    Example:
        >>> squeeze((1, 4)).forward((), jnp.array([[0.0, 1.0, 2.0, 3.0]]))[0].tolist()
        [[0.0, 2.0], [1.0, 3.0]]
    """
    return _cells(event_shape, is_haar=False)


def _cells(event_shape: Sequence[int], *, is_haar: bool) -> Bijector:
    fine = Event.of(event_shape, min_axes=2)
    channels, *sides = fine.shape
    if any(side % 2 for side in sides):
        raise ValueError(f"event_shape: expected even sides after the channels, got {fine.shape}")
    coarse = Event((channels * 2 ** len(sides), *(side // 2 for side in sides)))
    return bijector(no_params, _to_channels, _to_sites, Cells(fine, coarse, is_haar))


def _mix(static: Cells, first: Array, second: Array) -> tuple[Array, Array]:
    """Both values of a pair; its own inverse."""
    if not static.is_haar:
        return first, second
    return (first + second) * math.sqrt(0.5), (first - second) * math.sqrt(0.5)


def _to_channels(static: Cells, params: tuple, values: Array) -> tuple[Array, Array]:
    static.fine.check(values)
    for axis in range(1, len(static.fine.shape)):
        first, second = (jax.lax.slice_in_dim(values, start, None, 2, axis) for start in (0, 1))
        values = jnp.concatenate(_mix(static, first, second))
    return values, static.coarse.zeros(values)


def _to_sites(static: Cells, params: tuple, values: Array) -> tuple[Array, Array]:
    static.coarse.check(values)
    for axis in reversed(range(1, len(static.fine.shape))):
        pair = _mix(static, *jnp.split(values, 2))
        values = jnp.stack(pair, axis=axis + 1)
        shape = values.shape
        values = values.reshape(*shape[:axis], 2 * shape[axis], *shape[axis + 2 :])
    return values, static.fine.zeros(values)


def logit(event_shape: Sequence[int], *, margin: Array | float = 0.0) -> Bijector:
    r"""Numbers between 0 and 1 become real numbers, :math:`y = \mathrm{logit}(m + (1 - 2m) x)`.

    The margin keeps data at 0 and 1 finite. `invert` it for a map that ends in the unit interval. What is not between
    -m/(1-2m) and 1 + m/(1-2m) becomes NaN.

    Args:
        event_shape: shape of the event.
        margin: m, 0 <= m < 1/2.

    Raises:
        ValueError: no shape, or m out of range.

    Example:
        >>> logit((1,)).forward((), jnp.array([0.5]))
        (Array([0.], dtype=float32), Array(1.3862944, dtype=float32))
    """
    check_number("margin", margin, above=-1e-30, below=0.5)
    return bijector(no_params, _logit, _sigmoid, Event.of(event_shape), as_floating("margin", margin))


def _logit(event: Event, margin: Array, params: tuple, values: Array) -> tuple[Array, Array]:
    event.check(values)
    margin = margin.astype(values.dtype)
    share = margin + (1 - 2 * margin) * values
    above, below = jnp.log(share), jnp.log1p(-share)
    return above - below, event.total(jnp.log1p(-2 * margin) - above - below)


def _sigmoid(event: Event, margin: Array, params: tuple, values: Array) -> tuple[Array, Array]:
    event.check(values)
    margin = margin.astype(values.dtype)
    share = (jax.nn.sigmoid(values) - margin) / (1 - 2 * margin)
    log_slope = jax.nn.log_sigmoid(values) + jax.nn.log_sigmoid(-values)
    return share, event.total(log_slope - jnp.log1p(-2 * margin))


def fourier_scaling(amplitude: Array) -> Bijector:
    r"""Every Fourier mode of a periodic field is scaled, :math:`y = F^{-1} A F x`.

    Args:
        amplitude: ``[*shape]`` A(k) > 0 in the order of `numpy.fft.fftn`, with A(-k) = A(k); shape of the event.

    Raises:
        ValueError: no real numbers, or values that can be seen not to be positive and even.
    """
    values = as_floating("amplitude", amplitude)
    if values.ndim == 0 or not values.size:
        raise ValueError(f"amplitude: expected an array [*shape], got shape {values.shape}")
    if not isinstance(values, Tracer):
        host = np.asarray(values)
        mirrored = np.roll(np.flip(host), 1, tuple(range(host.ndim)))
        if np.any(host <= 0) or not np.allclose(host, mirrored, rtol=1e-4, equal_nan=True):
            raise ValueError("amplitude: expected positive numbers with A(-k) = A(k), got others")
    return bijector(no_params, _scale_modes, _unscale_modes, Event(values.shape), values)


def _scale_modes(event: Event, amplitude: Array, params: tuple, values: Array) -> tuple[Array, Array]:
    return _filter(event, amplitude, values), _log_volume(event, amplitude, values)


def _unscale_modes(event: Event, amplitude: Array, params: tuple, values: Array) -> tuple[Array, Array]:
    return _filter(event, 1 / amplitude, values), -_log_volume(event, amplitude, values)


def _filter(event: Event, amplitude: Array, values: Array) -> Array:
    event.check(values)
    axes = tuple(range(len(event.shape)))
    modes = jnp.fft.rfftn(values, axes=axes)
    half = amplitude[..., : modes.shape[axes[-1]]].astype(values.dtype)
    scaled = modes * beside_lanes(half.astype(modes.dtype), modes)
    return jnp.fft.irfftn(scaled, s=event.shape, axes=axes)


def _log_volume(event: Event, amplitude: Array, values: Array) -> Array:
    return jnp.broadcast_to(jnp.sum(jnp.log(amplitude)).astype(values.dtype), event.lanes(values))


def free_field(shape: Sequence[int], mass_squared: Array | float, stiffness: Array | float = 1.0) -> Bijector:
    r"""White noise becomes a free field on a periodic lattice: `fourier_scaling` by the root of the propagator.

    .. math:: S(\phi) = \tfrac12 \sum_k \Big(\rho \sum_\mu 4 \sin^2\tfrac{k_\mu}{2} + m^2\Big) |\phi_k|^2,
        \qquad A(k) = \Big(\rho \sum_\mu 4 \sin^2\tfrac{k_\mu}{2} + m^2\Big)^{-1/2}

    Args:
        shape: sides of the lattice, the shape of the event.
        mass_squared: m^2 > 0.
        stiffness: rho >= 0.

    Raises:
        ValueError: no sides, or numbers out of range.
    """
    sides = as_sides("shape", shape)
    if not sides:
        raise ValueError("shape: expected at least one side, got ()")
    check_number("mass_squared", mass_squared, above=0.0)
    check_number("stiffness", stiffness, above=-1e-30)
    waves = np.zeros(sides)
    for axis, side in enumerate(sides):
        wave = 4 * np.sin(np.pi * np.arange(side) / side) ** 2
        waves = waves + wave.reshape(-1, *(1,) * (len(sides) - axis - 1))
    laplacian = as_floating("waves", waves)
    rho, mass = as_floating("stiffness", stiffness), as_floating("mass_squared", mass_squared)
    return bijector(no_params, _free, _unfree, Event(sides), laplacian, mass, rho)


def _free(event: Event, waves: Array, mass: Array, rho: Array, params: tuple, values: Array) -> tuple[Array, Array]:
    return _scale_modes(event, _propagator(waves, mass, rho, values), params, values)


def _unfree(event: Event, waves: Array, mass: Array, rho: Array, params: tuple, values: Array) -> tuple[Array, Array]:
    return _unscale_modes(event, _propagator(waves, mass, rho, values), params, values)


def _propagator(waves: Array, mass: Array, rho: Array, values: Array) -> Array:
    waves, mass, rho = (number.astype(values.dtype) for number in (waves, mass, rho))
    return jax.lax.rsqrt(rho * waves + mass)
