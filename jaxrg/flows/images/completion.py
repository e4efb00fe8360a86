"""Missing pixels of an image given the others, drawn by sequential Monte Carlo from coarse to fine."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_array, as_count, as_integers, check_key, check_shape, is_traced, kind_of
from jaxrg.flows.images.decimation import ImagePlan, check_params, pixels_of, plan_of
from jaxrg.flows.images.level_mixtures import Cell, cell_of, from_normal, middle_of
from jaxrg.samplers.resampling import systematic


class Completions(NamedTuple):
    """Images that agree with what is known.

    Attributes:
        levels: ``[num_particles, side, side, channels]`` int32, equally likely each; some are copies of others.
        log_prob: ln P of the known levels, whose exponential is an unbiased estimate.
        ess: smallest share of the particles that was effective before a resampling.
    """

    levels: Array
    log_prob: Array
    ess: Array


def complete(
    key: Array, flow: Bijector, params: PyTree, levels: Any, is_missing: Any, *, num_particles: int = 64
) -> Completions:
    r"""Draw the missing pixels of an image given all others, and estimate ln P of these.

    .. math:: n_M \sim P(n_M \mid n_K), \qquad
        \hat P(n_K) = \prod_t \frac1N \sum_{i=1}^N w_t^i, \qquad
        w_t^i = \prod_{\text{known } j \text{ of pass } t} P(n_j \mid n^i_{\text{known before } j})

    Particles draw the missing pixels pass by pass, from coarse to fine, are weighted with the probability of the known
    pixels of each pass, and drawn anew by their weights where less than half of them are effective. Right as the
    number of particles grows; for a region that the rest says much about, more of them are needed. The mean over
    particles has the smallest expected squared error.

    Args:
        key: typed key.
        flow: from `image_decimation`.
        params: of the flow.
        levels: integers ``[side, side, channels]``; what is at missing pixels is not looked at.
        is_missing: ``[side, side]`` booleans.
        num_particles: images drawn side by side.

    Returns:
        `Completions`, with as many images.

    Raises:
        ValueError: another flow or other parameters, levels out of range, or shapes that do not fit.

    Example:
        >>> from jaxrg.flows.images import image_decimation
        >>> flow = image_decimation((4, 4, 1), num_components=2, num_features=4, num_levels=2)
        >>> given, is_missing = jnp.ones((4, 4, 1), int), jnp.arange(16).reshape(4, 4) == 5
        >>> params = flow.init(jax.random.key(0))
        >>> found = complete(jax.random.key(1), flow, params, given, is_missing, num_particles=8)
        >>> found.levels.shape, bool((found.levels == 1)[:, ~is_missing].all())
        ((8, 4, 4, 1), True)

    Reference:
        Doucet, de Freitas & Gordon, Sequential Monte Carlo Methods in Practice (2001).
    """
    check_key("key", key)
    plan = plan_of(flow)
    check_params(plan, params)
    given = as_array("levels", levels)
    check_shape("levels", given, plan.shape)
    if is_traced(is_missing):
        raise ValueError("is_missing: expected booleans whose values can be seen, got traced ones")
    mask = np.asarray(as_array("is_missing", is_missing))
    if mask.dtype != bool or mask.shape != plan.shape[:2]:
        raise ValueError(f"is_missing: expected booleans of shape {plan.shape[:2]}, got {kind_of(is_missing)}")
    if not is_traced(given):
        given = np.where(mask[..., None], 0, np.asarray(given))
    given = as_integers("levels", given, minimum=0, maximum=plan.num_levels - 1)
    return _complete(plan, key, params, given, mask, num_particles=as_count("num_particles", num_particles))


@functools.partial(jax.jit, static_argnames="num_particles")
def _complete(
    plan: ImagePlan, key: Array, params: PyTree, given: Array, mask: Any, *, num_particles: int
) -> Completions:
    dtype = params[0]["first"].dtype
    known = jnp.moveaxis(given, 2, 0).reshape(plan.channels, -1).astype(dtype)
    is_missing = jnp.asarray(mask).reshape(-1)

    def one_pass(carry: tuple, step: Any) -> tuple[tuple, None]:
        drawn, key, total, least = carry
        weights, (targets, inputs, is_input) = step
        key, noise_key, resample_key = jax.random.split(key, 3)
        seen = middle_of(drawn[:, inputs], plan.num_levels)
        pixels = pixels_of(plan, weights, is_input, seen)
        log_weights, before = pixels.logits, []
        gone, log_known = is_missing[targets][:, None], jnp.zeros((num_particles,), dtype)
        noise = jax.random.normal(noise_key, (plan.channels, len(targets), num_particles), dtype)
        for number in range(plan.channels):
            mixture = pixels.channel(number, log_weights, before)
            new, _, _, cell = from_normal(mixture, noise[number], plan.num_levels)
            old = jnp.broadcast_to(known[number, targets][:, None], new.shape)
            other = cell_of(mixture, old, plan.num_levels)
            log_known = log_known + jnp.sum(jnp.where(gone, 0, other.log_mass), axis=0)
            level = jnp.where(gone, new, old)
            cell = Cell(
                *(
                    jnp.where(gone if one.ndim == 2 else gone[None], one, two)
                    for one, two in zip(cell, other, strict=True)
                )
            )
            log_weights = log_weights + cell.log_of_components - cell.log_mass[None]
            before.append(middle_of(level, plan.num_levels))
            drawn = drawn.at[number, targets].set(level)
        index, total, ess = _resampled(resample_key, total, log_known)
        return (drawn[:, :, index], key, total, jnp.minimum(least, ess)), None

    start = jnp.zeros((plan.channels, plan.side**2, num_particles), dtype)
    weights_so_far = Weights(jnp.zeros((), dtype), jnp.zeros((num_particles,), dtype))
    carry: Any = start, key, weights_so_far, jnp.ones((), dtype)
    for group, weights in zip(plan.groups, params, strict=True):
        carry, _ = jax.lax.scan(one_pass, carry, (weights, jax.tree.map(jnp.asarray, group)))
    drawn, key, total, least = carry
    index, total, _ = _resampled(key, total, jnp.zeros((num_particles,), dtype), always=True)
    levels = jnp.transpose(drawn[:, :, index], (2, 1, 0)).reshape(num_particles, *plan.shape)
    return Completions(levels.astype(jnp.int32), total.log_mean, least)


class Weights(NamedTuple):
    """ln of the product of mean weights at all resamplings, and ln of the weights since the last."""

    log_mean: Array
    logs: Array  # [num_particles]


def _resampled(key: Array, weights: Weights, more: Array, *, always: bool = False) -> tuple[Array, Weights, Array]:
    """Which particles go on, their weights, and the share of them that was effective."""
    logs = weights.logs + more
    num_particles = logs.shape[0]
    shares = jax.nn.softmax(logs)
    ess = 1 / jnp.sum(jnp.square(shares)) / num_particles
    is_due = (ess < 0.5) | always
    log_mean = jax.nn.logsumexp(logs) - np.log(num_particles).astype(logs.dtype)
    unmoved = jnp.arange(num_particles, dtype=jnp.int32)
    index = jnp.where(is_due, systematic(key, logs), unmoved)
    return index, Weights(weights.log_mean + jnp.where(is_due, log_mean, 0), jnp.where(is_due, 0, logs)), ess
