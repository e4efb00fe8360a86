"""Affine couplings, with scales that are bounded and start at one."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Bijector
from jaxrg.checks import as_floating, check_number
from jaxrg.flows.bijectors.couplings import coupling

LOG_SCALE_BOUND = 2.0  # factors up to e^2 a layer: a few layers reach any scale, and none blows up by itself


def affine_coupling(
    event_shape: Sequence[int],
    mask: Any,
    conditioner: Any,
    *,
    condition_shape: Sequence[int] | None = None,
    log_scale_bound: Array | float = LOG_SCALE_BOUND,
) -> Bijector:
    r"""Features are scaled and shifted as the others say (RealNVP).

    .. math:: y_k = x_k, \qquad y_c = x_c\, e^{s(x_k)} + t(x_k), \qquad s = b \tanh(\hat s / b)

    Args:
        event_shape: shape of the event; more axes after it are lanes.
        mask: booleans of the event's leading axes, True for the features that stay and condition the others. Axes of
            the event that the mask leaves out go through the conditioner side by side, as pixels under channels do.
        conditioner: :math:`(\hat s, t)` of the features that stay: a `perceptron`, a network as of `jaxrg.nets`, or a
            function of ``[kept, *rest, *lanes]``; ``2 * changed`` outputs, first all the scales.
        condition_shape: ``(conditions, *rest)``: the event is then a pair of the event and a condition, which the
            conditioner sees after the features that stay, and which is passed on; the mask may be False everywhere.
        log_scale_bound: b > 0.

    Raises:
        ValueError: shapes that do not fit, a mask of one kind only, no conditioner, or b that is not positive.

    Example:
        >>> from jaxrg.flows.bijectors import perceptron
        >>> layer = affine_coupling((4,), [True, True, False, False], perceptron((8,)))
        >>> values, log_det = layer.forward(layer.init(jax.random.key(0)), jnp.ones((4, 100)))
        >>> values.shape, log_det.shape
        ((4, 100), (100,))

    Reference:
        Dinh, Sohl-Dickstein & Bengio, ICLR 2017, arXiv:1605.08803.
    """
    check_number("log_scale_bound", log_scale_bound, above=0.0)
    bound = as_floating("log_scale_bound", log_scale_bound)
    return coupling(
        event_shape, mask, conditioner, condition_shape, Partial(_forward, bound), Partial(_inverse, bound), 2
    )


def _forward(bound: Array, values: Array, outputs: Array) -> tuple[Array, Array]:
    log_scale = bounded(outputs[0], bound)
    return values * jnp.exp(log_scale) + outputs[1], log_scale


def _inverse(bound: Array, values: Array, outputs: Array) -> tuple[Array, Array]:
    log_scale = bounded(outputs[0], bound)
    return (values - outputs[1]) * jnp.exp(-log_scale), -log_scale


def bounded(values: Array, bound: Array) -> Array:
    """Values squeezed between minus and plus the bound, with slope one at zero."""
    bound = bound.astype(values.dtype)
    return bound * jnp.tanh(values / bound)
