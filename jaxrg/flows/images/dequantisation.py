r"""Dequantisation: noise inside the steps of grey levels, so that a density of real numbers bounds P of whole ones.

A level :math:`n \in \{0, \dots, K - 1\}` of a pixel becomes :math:`y = (n + u)/K` with noise u in (0, 1), and

.. math:: \ln P(n) = \ln \int_{[0, 1]^D} p\left(\frac{n + u}{K}\right) \frac{du}{K^D} \ge
    \mathrm{E}_{q(u|n)}\left[\ln p\left(\frac{n + u}{K}\right) - D \ln K - \ln q(u|n)\right] .
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.tree_util import Partial

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_count, as_floating, as_integers, check_key, kind_of
from jaxrg.closures import as_functions
from jaxrg.sums import blocked_sum

EDGE = 2.0**-24  # as far as noise stays away from 0 and 1, whose logits are infinite


class Dequantisation(NamedTuple):
    """Noise within a level, given the levels.

    Attributes:
        init: ``params = init(key)``.
        sample: ``noise, log_prob = sample(key, params, levels, num_levels)``, ``[num_images, *shape]`` in (0, 1) and
            ``[num_images]`` ln q(u|n), of integers ``[num_images, *shape]`` from 0 to ``num_levels - 1``.
    """

    init: Callable[[Array], PyTree]
    sample: Callable[[Array, PyTree, Array, int], tuple[Array, Array]]


def uniform_dequantisation() -> Dequantisation:
    r"""Noise that is uniform and independent: :math:`\ln q(u|n) = 0`, without parameters.

    Example:
        >>> levels = jnp.zeros((2, 4, 4), jnp.uint8)
        >>> noise, log_prob = uniform_dequantisation().sample(jax.random.key(0), (), levels, 256)
        >>> noise.shape, log_prob.tolist()
        ((2, 4, 4), [0.0, 0.0])

    Reference:
        Uria, Murray & Larochelle, NeurIPS (2013); Theis, van den Oord & Bethge, ICLR (2016).
    """
    return Dequantisation(Partial(_no_params), Partial(_uniform))


def variational_dequantisation(flow: Bijector) -> Dequantisation:
    r"""Noise that a conditional flow has learned, with which the bound is the tighter the nearer q(u|n) is to p(u|n).

    .. math:: u = \sigma(f(\epsilon; n)), \qquad \ln q(u|n) = \ln\frac{\sigma'(\epsilon)}{\sigma'(f)} -
        \ln\left|\det\frac{\partial f}{\partial\epsilon}\right|, \qquad \epsilon \sim \mathrm{Logistic}

    A flow that starts at the identity starts with uniform noise. A ``bijectors.affine_coupling`` that keeps none of an
    event ``[channels, *sides]``, with a condition of that shape, is a logistic distribution for every pixel; its
    conditioner says how place and width depend on the levels.

    Args:
        flow: a bijector of pairs ``(values, condition)``, both ``[channels, *sides, *lanes]``, that passes the
            condition through. The condition is the levels, from -1 to 1.

    Raises:
        ValueError: no bijector.

    Reference:
        Ho, Chen, Srinivas, Duan & Abbeel, ICML (2019).
    """
    bijector = as_functions("flow", flow, Bijector)
    return Dequantisation(bijector.init, Partial(_variational, bijector.forward))


def _no_params(key: Array) -> tuple[()]:
    check_key("key", key)
    return ()


def _uniform(key: Array, params: PyTree, levels: Array, num_levels: int) -> tuple[Array, Array]:
    levels, _ = as_levels(levels, num_levels)
    check_key("key", key)
    return _uniform_noise(key, shape=levels.shape)


@functools.partial(jax.jit, static_argnames="shape")
def _uniform_noise(key: Array, *, shape: tuple[int, ...]) -> tuple[Array, Array]:
    noise = jax.random.uniform(key, shape, jnp.result_type(float))
    return noise, jnp.zeros(shape[:1], noise.dtype)


def _variational(forward: Partial, key: Array, params: PyTree, levels: Array, num_levels: int) -> tuple[Array, Array]:
    levels, num_levels = as_levels(levels, num_levels)
    check_key("key", key)
    if levels.ndim < 3:
        raise ValueError(f"levels: expected [num_images, *sides, channels], got shape {levels.shape}")
    return _learned_noise(forward, key, params, levels, np.float32(num_levels))


@jax.jit
def _learned_noise(
    forward: Partial, key: Array, params: PyTree, levels: Array, num_levels: Array
) -> tuple[Array, Array]:
    dtype = jnp.result_type(float)
    condition = 2 * levels.astype(dtype) / (num_levels.astype(dtype) - 1) - 1
    condition = jnp.moveaxis(condition, (-1, 0), (0, -1))
    uniform = jax.random.uniform(key, condition.shape, dtype, EDGE, 1 - EDGE)
    base = jax.scipy.special.logit(uniform)
    (values, _), log_det = forward(params, (base, condition))
    # ln of the slope of the sigmoid, at both ends; finite also where the sigmoid itself is 0 or 1.
    slopes = jax.nn.log_sigmoid(base) + jax.nn.log_sigmoid(-base)
    slopes = slopes - jax.nn.log_sigmoid(values) - jax.nn.log_sigmoid(-values)
    log_prob = blocked_sum(slopes.reshape(-1, slopes.shape[-1])) - log_det
    return jnp.moveaxis(jax.nn.sigmoid(values), (0, -1), (-1, 0)), log_prob


def as_levels(levels: Any, num_levels: Any) -> tuple[Array, int]:
    """Integers ``[num_images, *shape]`` from 0 to ``num_levels - 1``, and how many levels there are.

    Raises:
        ValueError: other numbers, as grey levels from 0 to 1 are, which `quantised_levels` takes.
    """
    num_levels = as_count("num_levels", num_levels, minimum=2)
    array = as_integers("levels", levels, minimum=0, maximum=num_levels - 1)
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"levels: expected images [num_images, *shape], got {kind_of(levels)}")
    return array, num_levels


def nearest_levels(images: Array, *, num_levels: int = 256) -> Array:
    """Grey levels from 0 to 1, as data sets have them, as the integers 0 ... ``num_levels - 1``.

    Args:
        images: numbers ``n / (num_levels - 1)``, or others in [0, 1], which go to the nearest of these.
        num_levels: 2 to 256.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: values outside [0, 1] that can be seen.

    Example:
        >>> nearest_levels(jnp.array([0.0, 0.5019608, 1.0])).tolist()
        [0, 128, 255]
    """
    num_levels = _as_byte(num_levels)
    values = as_floating("images", images)
    if not isinstance(values, Tracer) and values.size:
        host = np.asarray(values)
        if not ((host >= 0) & (host <= 1)).all():
            raise ValueError(f"images: expected grey levels from 0 to 1, got {host.min()} to {host.max()}")
    return _rounded(values, np.float32(num_levels))


def quantised(values: Array, *, num_levels: int = 256) -> Array:
    """The levels that dequantised values in [0, 1] lie in, as those that a density of images draws.

    Args:
        values: real numbers; those outside go to the first or the last level, and NaN to the first.
        num_levels: 2 to 256.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: no real numbers.

    Example:
        >>> quantised(jnp.array([-0.1, 0.0, 0.501, 1.0])).tolist()
        [0, 0, 128, 255]
    """
    return _cut(as_floating("values", values), np.float32(_as_byte(num_levels)))


def _as_byte(num_levels: Any) -> int:
    if as_count("num_levels", num_levels, minimum=2) > 256:
        raise ValueError(f"num_levels: expected at most 256, got {num_levels}")
    return int(num_levels)


@jax.jit
def _rounded(values: Array, num_levels: Array) -> Array:
    return jnp.round(values * (num_levels.astype(values.dtype) - 1)).astype(jnp.uint8)


@jax.jit
def _cut(values: Array, num_levels: Array) -> Array:
    number = num_levels.astype(values.dtype)
    return jnp.clip(jnp.floor(jnp.nan_to_num(values) * number), 0, number - 1).astype(jnp.uint8)
