"""Priors: independent noise of one array or of latents by level, with a scale of its own each, fixed or learned."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Density, PyTree
from jaxrg.checks import as_count, as_parameter, as_sides, check_function, check_key, is_traced, kind_of
from jaxrg.closures import as_functions, as_partial
from jaxrg.sums import blocked_sum


class _Noise(NamedTuple):
    """Noise of unit scale."""

    draw: Callable[..., Array]  # (key, shape, dtype)
    log_prob: Callable[[Array], Array]  # elementwise


def _gaussian(z: Array) -> Array:
    return -0.5 * (jnp.square(z) + np.log(2 * np.pi).astype(z.dtype))


def _laplace(z: Array) -> Array:
    return -jnp.abs(z) - np.log(2).astype(z.dtype)


GAUSSIAN = _Noise(Partial(jax.random.normal), Partial(_gaussian))
LAPLACE = _Noise(Partial(jax.random.laplace), Partial(_laplace))


def gaussian(shapes: PyTree, *, scale: PyTree = 1.0, is_learned: bool = False) -> Density:
    r"""Independent Gaussian noise, of one array or of latents by level.

    .. math:: \ln p(z) = -\sum_i \left(\frac{z_i^2}{2\sigma_i^2} + \ln\sigma_i + \tfrac12\ln 2\pi\right)

    Args:
        shapes: shape of an event such as ``(8, 8)``, or a pytree of shapes, such as ``geometry(flow).latent_shapes``.
        scale: standard deviation: one number, an array that broadcasts against the event, or a pytree of these with the
            structure of ``shapes``, one for each level.
        is_learned: whether the logarithms of the scales are parameters, which start at ``scale``.

    Returns:
        A density of arrays, or pytrees of arrays, ``[num_samples, *shape]``. Fixed scales leave no parameters, ``()``.

    Raises:
        ValueError: no shapes, or scales that are not positive or do not broadcast.

    Example:
        >>> prior = gaussian({0: (3, 4, 4), 1: (4, 4)}, scale={0: 1.0, 1: 0.5}, is_learned=True)
        >>> latents, log_prob = prior.sample(jax.random.key(0), prior.init(jax.random.key(1)), 5)
        >>> latents[0].shape, latents[1].shape, log_prob.shape
        ((5, 3, 4, 4), (5, 4, 4), (5,))
    """
    return _independent(GAUSSIAN, shapes, scale, is_learned)


def laplace(shapes: PyTree, *, scale: PyTree = 1.0, is_learned: bool = False) -> Density:
    r"""Independent Laplace noise, with heavier tails; a scale of :math:`1/\sqrt 2` has variance one.

    .. math:: \ln p(z) = -\sum_i \left(\frac{|z_i|}{b_i} + \ln 2 b_i\right)

    Arguments, result and errors are those of `gaussian`.

    Example:
        >>> prior = laplace((2,), scale=0.5)
        >>> prior.log_prob(prior.init(jax.random.key(0)), jnp.zeros((1, 2))).tolist()
        [0.0]
    """
    return _independent(LAPLACE, shapes, scale, is_learned)


def _is_shape(node: Any) -> bool:
    is_sequence = isinstance(node, Sequence) and not isinstance(node, str | bytes)
    return hasattr(node, "shape") or (is_sequence and all(isinstance(side, int | np.integer) for side in node))


def _independent(noise: _Noise, shapes: PyTree, scale: PyTree, is_learned: bool) -> Density:
    if not isinstance(is_learned, bool | np.bool_):
        raise ValueError(f"is_learned: expected True or False, got {kind_of(is_learned)}")
    found, structure = jax.tree.flatten(shapes, is_leaf=_is_shape)
    if not found or not all(map(_is_shape, found)):
        raise ValueError(f"shapes: expected a shape such as (8, 8), or a pytree of shapes, got {kind_of(shapes)}")
    sides = [as_sides("shapes", tuple(getattr(shape, "shape", shape))) for shape in found]
    scales = _as_scales(scale, structure, sides)
    event = _Event(tuple(sides), structure)
    init = Partial(_learned, scales) if is_learned else Partial(_fixed)
    kept = None if is_learned else scales
    return Density(init, Partial(_sample, event, noise, kept), Partial(_log_prob, event, noise, kept))


@jax.tree_util.register_static
class _Event(NamedTuple("_Event", [("sides", tuple[tuple[int, ...], ...]), ("structure", Any)])):
    """Shapes of the arrays of an event, and the pytree they are in; static."""


def _as_scales(scale: PyTree, structure: Any, sides: list[tuple[int, ...]]) -> tuple[Array, ...]:
    """ln of the scale of each array."""
    given = jax.tree.leaves(scale) if jax.tree.structure(scale) == structure else [scale] * len(sides)
    scales = []
    for value, shape in zip(given, sides, strict=True):
        array = as_parameter("scale", value)
        if not isinstance(array, Array) or (not is_traced(array) and not np.all(np.asarray(array) > 0)):
            raise ValueError(f"scale: expected numbers above 0 of every level, got {kind_of(value)} with others")
        try:
            is_right = np.broadcast_shapes(array.shape, shape) == shape
        except ValueError:
            is_right = False
        if not is_right:
            raise ValueError(f"scale: expected a shape that broadcasts to {shape}, got {array.shape}")
        scales.append(_log(array.reshape((1,) * (len(shape) - array.ndim) + array.shape)))
    return tuple(scales)


_log = jax.jit(jnp.log)


def _fixed(key: Array) -> tuple[()]:
    return ()


def _learned(scales: tuple[Array, ...], key: Array) -> tuple[Array, ...]:
    check_key("key", key)
    return scales


@functools.partial(jax.jit, static_argnames="num_samples")
def _sample_arrays(event: _Event, noise: _Noise, scales: tuple[Array, ...], key: Array, *, num_samples: int):
    keys = jax.random.split(key, len(scales))
    draws, log_prob = [], []
    for draw_key, log_scale, shape in zip(keys, scales, event.sides, strict=True):
        z = noise.draw(draw_key, (num_samples, *shape), log_scale.dtype)
        draws.append(z * jnp.exp(log_scale)[None])
        log_prob.append(event_sum(noise.log_prob(z) - log_scale[None]))
    return jax.tree.unflatten(event.structure, draws), functools.reduce(jnp.add, log_prob)


def _sample(event: _Event, noise: _Noise, kept: tuple | None, key: Array, params: PyTree, num_samples: int):
    check_key("key", key)
    count = as_count("num_samples", num_samples)
    return _sample_arrays(event, noise, params if kept is None else kept, key, num_samples=count)


@jax.jit
def _log_prob(event: _Event, noise: _Noise, kept: tuple | None, params: PyTree, configurations: PyTree) -> Array:
    scales = params if kept is None else kept
    arrays = jax.tree.leaves(configurations)
    if jax.tree.structure(configurations) != event.structure:
        raise ValueError(f"configurations: expected {len(event.sides)} arrays as drawn, got {kind_of(configurations)}")
    log_prob = []
    for values, log_scale, shape in zip(arrays, scales, event.sides, strict=True):
        if values.ndim == 0 or values.shape[1:] != shape:
            raise ValueError(f"configurations: expected shape (num_samples, *{shape}), got {tuple(values.shape)}")
        log_scale = log_scale.astype(values.dtype)
        log_prob.append(event_sum(noise.log_prob(values * jnp.exp(-log_scale)[None]) - log_scale[None]))
    return functools.reduce(jnp.add, log_prob)


def conditional(prior: Density, init: Callable[[Array], PyTree], condition: Callable) -> Density:
    r"""Latents by level, each moved and scaled by what the coarser ones say: a prior for every scale given the next.

    .. math:: z_h = \mu_h(z_{h+1}, z_{h+2}, \dots) + e^{s_h(z_{h+1}, \dots)}\, \epsilon_h

    Args:
        prior: of the noise by level, a dictionary whose largest number is the coarsest, as `gaussian` of
            ``geometry(flow).latent_shapes``.
        init: ``params = init(key)`` of the condition.
        condition: ``shift, log_scale = condition(params, level, coarser)``, which broadcast against the latents of the
            level, ``[num_samples, *shape]``; ``coarser`` is a dictionary, empty for the coarsest level.

    Returns:
        A density whose parameters are a dictionary of those of the ``prior`` and of the ``condition``.

    Raises:
        ValueError: no density, functions that are none, or latents that are no dictionary.

    Example:
        >>> def condition(params, level, coarser):  # the finer level follows the mean of the coarser one
        ...     zero = jnp.zeros((1, 1))
        ...     return (jnp.mean(coarser[1], axis=1, keepdims=True) if level == 0 else zero), params * jnp.ones((1, 1))
        >>> prior = conditional(gaussian({0: (6,), 1: (2,)}), lambda key: jnp.float32(0), condition)
        >>> latents, log_prob = prior.sample(jax.random.key(0), prior.init(jax.random.key(1)), 5)
        >>> latents[0].shape, log_prob.shape
        ((5, 6), (5,))
    """
    noise = as_functions("prior", prior, Density)
    check_function("init", init, of="a key")
    check_function("condition", condition, of="(params, level, coarser)")
    made, told = as_partial(init), as_partial(condition)
    return Density(
        Partial(_conditional_init, noise, made),
        Partial(_conditional_sample, noise, told),
        Partial(_conditional_log_prob, noise, told),
    )


def _conditional_init(noise: Density, init: Callable, key: Array) -> dict[str, PyTree]:
    check_key("key", key)
    prior_key, condition_key = jax.random.split(key)
    return {"prior": noise.init(prior_key), "condition": init(condition_key)}


def _by_level(name: str, latents: Any) -> list[int]:
    """The levels of latents, the coarsest first."""
    if not isinstance(latents, dict):
        raise ValueError(f"{name}: expected a dictionary of latents by level, got {kind_of(latents)}")
    return sorted(latents, reverse=True)


def _conditional_sample(noise: Density, condition: Callable, key: Array, params: Any, num_samples: int):
    check_key("key", key)
    return _conditional_draw(noise, condition, key, params, num_samples=as_count("num_samples", num_samples))


@functools.partial(jax.jit, static_argnames="num_samples")
def _conditional_draw(noise: Density, condition: Callable, key: Array, params: Any, *, num_samples: int):
    draws, log_prob = noise.sample(key, params["prior"], num_samples)
    latents: dict[int, Array] = {}
    for level in _by_level("prior", draws):
        shift, log_scale = condition(params["condition"], level, dict(latents))
        latents[level] = shift + jnp.exp(log_scale) * draws[level]
        log_prob = log_prob - event_sum(jnp.broadcast_to(log_scale, draws[level].shape))
    return latents, log_prob


@jax.jit
def _conditional_log_prob(noise: Density, condition: Callable, params: Any, configurations: PyTree) -> Array:
    draws: Any = {}
    volumes = []
    for level in _by_level("configurations", configurations):
        coarser = {other: configurations[other] for other in configurations if other > level}
        shift, log_scale = condition(params["condition"], level, coarser)
        draws[level] = (configurations[level] - shift) * jnp.exp(-log_scale)
        volumes.append(event_sum(jnp.broadcast_to(log_scale, draws[level].shape)))
    return noise.log_prob(params["prior"], draws) - functools.reduce(jnp.add, volumes)


def event_sum(values: Array) -> Array:
    """``[num_samples]`` sum over all axes but the first, in blocks: float32 keeps its digits over many sites."""
    return blocked_sum(values.reshape(values.shape[0], -1).T)
