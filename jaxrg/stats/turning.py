r"""When a curve turns: the knot of a broken line, with the same definition for every curve it is compared with."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_floating, check_count, is_traced


class Turn(NamedTuple):
    """The broken line closest to a curve; every field has the curve's leading axes."""

    time: Array  # of the knot, one of the given times
    slope_before: Array
    slope_after: Array
    r_squared: Array  # of the broken line; of a straight one too where nothing turns


def turning_point(times: ArrayLike, curve: Array, *, margin: int = 2) -> Turn:
    r"""Least squares of a continuous broken line over all knots.

    .. math:: y(t) \approx a + b\,t + c \max(0, t - t_0)

    Args:
        times: increasing ``[num_times]``, not traced; for training usually the logarithm of the epoch.
        curve: ``[..., num_times]``.
        margin: points on either side of the knot at least.

    Returns:
        `Turn`; the slopes are b and b + c, per unit of ``times``. A constant curve, or one with NaN, has no time: NaN.

    Raises:
        ValueError: times that do not increase, curves of another length, or too few points.

    Example:
        >>> turn = turning_point(jnp.arange(7.0), jnp.array([3.0, 2.0, 1.0, 0.0, 2.0, 4.0, 6.0]))
        >>> float(turn.time), round(float(turn.slope_before), 3), round(float(turn.slope_after), 3)
        (3.0, -1.0, 2.0)

    Reference:
        Hudson, J. Am. Stat. Assoc. 61, 1097 (1966).
    """
    check_count("margin", margin)
    curve = as_floating("curve", curve)
    if is_traced(times):
        raise ValueError("times: expected numbers known before the trace, got traced ones")
    host = np.asarray(as_floating("times", times), np.float64)
    if host.ndim != 1 or not np.all(np.diff(host) > 0) or not np.all(np.isfinite(host)):
        raise ValueError(f"times: expected increasing numbers, got shape {host.shape}")
    if curve.shape[-1:] != host.shape:
        raise ValueError(f"curve: expected {len(host)} values along the last axis, got shape {curve.shape}")
    knots = np.arange(margin, len(host) - margin)
    if len(knots) == 0:
        raise ValueError(f"curve: expected more than {2 * margin} points for this margin, got {len(host)}")

    # The design depends on the times only: one QR a knot on the host serves every curve.
    hinges = np.maximum(0, host[None, :] - host[knots][:, None])
    line = np.broadcast_to(host - host.mean(), hinges.shape)
    design = np.stack([np.ones_like(hinges), line, hinges], axis=-1)
    basis, triangle = np.linalg.qr(design)
    dtype = curve.dtype
    parts = (np.asarray(part, dtype) for part in (basis, np.linalg.inv(triangle), host[knots]))
    return _turning_point(*parts, curve)


@jax.jit
def _turning_point(basis: Array, inverse: Array, knots: Array, curve: Array) -> Turn:

    centred = curve - jnp.mean(curve, axis=-1, keepdims=True)
    projections = jnp.einsum("ktp,...t->...kp", basis, centred)
    fitted = jnp.einsum("ktp,...kp->...kt", basis, projections)
    residuals = jnp.sum((jnp.expand_dims(centred, -2) - fitted) ** 2, axis=-1)
    best = jnp.argmin(residuals, axis=-1)
    coefficients = jnp.einsum("kpq,...kq->...kp", inverse, projections)
    chosen = jnp.take_along_axis(coefficients, best[..., None, None], axis=-2)[..., 0, :]
    total = jnp.sum(centred**2, axis=-1)
    has_turn = jnp.isfinite(total) & (total > 0)
    return Turn(
        time=jnp.where(has_turn, knots[best], jnp.nan),
        slope_before=chosen[..., 1],
        slope_after=chosen[..., 1] + chosen[..., 2],
        r_squared=1 - jnp.min(residuals, axis=-1) / total,
    )
