"""Decimation of an image run backwards: pixels drawn from coarse to fine, each from a mixture over its levels."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial, register_static

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_count, as_floating, as_sides, check_key, check_number, is_traced, kind_of
from jaxrg.flows import level_checks
from jaxrg.flows.drawing_order import TOP, Around, groups_of_passes, known_around
from jaxrg.flows.hierarchy import check_latents
from jaxrg.flows.images.level_mixtures import (
    MAX_LEVELS,
    LevelMixture,
    cell_of,
    from_normal,
    level_of,
    middle_of,
    to_normal,
)
from jaxrg.flows.initial import normal_weights
from jaxrg.flows.passes import by_level, over_lattice, shapes_by_level
from jaxrg.sums import blocked_sum

NARROWEST = -9.0  # ln of a width, where [0, 1] is [-1, 1]


@register_static
@dataclasses.dataclass(frozen=True)
class ImagePlan:
    """What is static of a decimation of images.

    Attributes:
        side: of the square image.
        channels: of a pixel.
        num_components: of the mixture of a pixel.
        num_features: of both hidden layers.
        radius: how far a pixel sees the known ones around it, in pixels of its level.
        alone: pixels a side of the largest level whose pixels are drawn one by one.
        num_levels: that a channel can have.
    """

    side: int
    channels: int
    num_components: int
    num_features: int
    radius: float
    alone: int
    num_levels: int

    @functools.cached_property
    def groups(self) -> tuple[Around, ...]:
        """In the order of drawing: the four pixels of the top, then three classes of every level."""
        drawn = groups_of_passes(self.side, self.radius, self.alone)
        return tuple(known_around(self.side, passes, radius, is_periodic=False) for passes, radius, _ in drawn)

    @functools.cached_property
    def sites(self) -> np.ndarray:
        """``[side^2]`` of the flattened image, in the order of drawing."""
        return np.concatenate([group.targets.ravel() for group in self.groups])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image."""
        return self.side, self.side, self.channels

    @functools.cached_property
    def shapes(self) -> PyTree:
        """Of the parameters."""
        return jax.eval_shape(lambda: _initialised(self, jax.random.key(0)))

    @property
    def num_scales(self) -> int:
        """Levels of latents; on top are four pixels."""
        return self.side.bit_length() - 1

    @property
    def num_outputs(self) -> tuple[int, int, int, int]:
        """How many numbers a network tells: weights, means, widths, and how means follow the channels before."""
        pairs = self.channels * (self.channels - 1) // 2
        each = self.num_components
        return each, each * self.channels, each * self.channels, each * pairs


def _init(plan: ImagePlan, key: Array) -> PyTree:
    check_key("key", key)
    return _initialised(plan, key)


@jax.jit
def _initialised(plan: ImagePlan, key: Array) -> PyTree:
    features, outputs, dtype = plan.num_features, sum(plan.num_outputs), jnp.result_type(float)
    num_logits, num_means, num_scales, num_slopes = plan.num_outputs
    spread = jnp.linspace(-1, 1, plan.num_components, dtype=dtype) if plan.num_components > 1 else jnp.zeros(1, dtype)
    parts = [jnp.zeros(num_logits, dtype), jnp.repeat(spread, plan.channels)]
    parts += [jnp.full(num_scales, -1, dtype), jnp.zeros(num_slopes, dtype)]
    constants = jnp.concatenate(parts)

    shapes, zeros = [], []
    for group in plan.groups:
        num_passes, num_inputs, num_targets = group.inputs.shape
        num_inputs *= plan.channels
        shapes.append(
            {
                "first": (num_passes, features, num_inputs),
                "second": (num_passes, features, features),
                "head": (num_passes, outputs, features),
            }
        )
        zeros.append(
            {
                "linear": jnp.zeros((num_passes, num_means, num_inputs), dtype),
                "places": jnp.zeros((num_passes, features, num_targets), dtype),
                "constants": jnp.broadcast_to(constants, (num_passes, outputs)),
            }
        )
    drawn = normal_weights(key, shapes, dtype)
    return tuple(
        weights | {"head": weights["head"] / 10} | others for weights, others in zip(drawn, zeros, strict=True)
    )


class Pixels(NamedTuple):
    """What is known of the pixels of a pass before they are drawn, over ``[targets, lanes]``."""

    logits: Array  # [num_components, ...]
    means: Array  # [num_components, channels, ...]
    log_scales: Array
    slopes: Array  # [num_components, pairs of channels, ...]

    def channel(self, number: int, log_weights: Array, before: list[Array]) -> LevelMixture:
        """The mixture of one channel, given the channels before it, from -1 to 1."""
        first = number * (number - 1) // 2
        means = self.means[:, number]
        for place, seen in enumerate(before):
            means = means + self.slopes[:, first + place] * seen[None]
        return LevelMixture(log_weights, means, self.log_scales[:, number])


def pixels_of(plan: ImagePlan, weights: PyTree, is_input: Array, around: Array) -> Pixels:
    """Of known pixels ``[channels, num_inputs, targets, lanes]``, from -1 to 1."""
    values = jnp.where(is_input[:, :, None], around, 0)
    values = values.reshape(-1, *values.shape[2:])
    apply = functools.partial(jnp.tensordot, axes=1)
    hidden = jax.nn.silu(apply(weights["first"], values) + weights["places"][..., None])
    hidden = hidden + jax.nn.silu(apply(weights["second"], hidden))
    outputs = apply(weights["head"], hidden) + weights["constants"][:, None, None]
    logits, means, scales, slopes = jnp.split(outputs, np.cumsum(plan.num_outputs)[:3].tolist())
    means = means + apply(weights["linear"], values)

    def by_component(part: Array) -> Array:
        return part.reshape(plan.num_components, len(part) // plan.num_components, *part.shape[1:])

    scales = jnp.clip(by_component(scales), NARROWEST, 2)
    return Pixels(jax.nn.log_softmax(logits, axis=0), by_component(means), scales, by_component(slopes))


def _as_seen(plan: ImagePlan, x: Array, level: Array) -> Array:
    """The middle of the level, from -1 to 1, with the derivative of x."""
    return middle_of(level, plan.num_levels) + 2 * (x - jax.lax.stop_gradient(x))


def _to_sites(plan: ImagePlan, image: Array, params: PyTree) -> Array:
    """``[channels, sites, lanes]`` of ``[side, side, channels, *lanes]``, in the wider of both precisions."""
    image = image.astype(jnp.promote_types(image.dtype, params[0]["first"].dtype))
    return jnp.moveaxis(image.reshape(plan.side**2, plan.channels, math.prod(image.shape[3:])), 1, 0)


def _from_sites(plan: ImagePlan, flat: Array, lanes: tuple[int, ...]) -> Array:
    return jnp.moveaxis(flat, 0, 1).reshape(*plan.shape, *lanes)


@jax.jit
def _inverse(plan: ImagePlan, params: PyTree, image: Array) -> tuple[dict[int, Array], Array]:
    flat = _to_sites(plan, image, params)
    flat = jnp.where((flat >= 0) & (flat <= 1), flat, jnp.nan)  # what is no image has no density
    levels = level_of(flat, plan.num_levels)
    seen, found = _as_seen(plan, flat, levels), []
    for group, weights in zip(plan.groups, params, strict=True):
        around = jnp.moveaxis(seen[:, group.inputs], 1, 0)
        pixels = jax.vmap(functools.partial(pixels_of, plan), out_axes=-3)(weights, jnp.asarray(group.is_input), around)
        found.append(Pixels(*(part.reshape(*part.shape[:-3], group.targets.size, part.shape[-1]) for part in pixels)))
    # One list of all pixels in the order of drawing, so that their mixtures are one program.
    pixels, sites = Pixels(*map(functools.partial(jnp.concatenate, axis=-2), zip(*found, strict=True))), plan.sites
    flat, levels, seen = (part[:, sites] for part in (flat, levels, seen))
    log_weights, latents, logs = pixels.logits, [], []
    for number in range(plan.channels):
        mixture = pixels.channel(number, log_weights, list(seen[:number]))
        cell = cell_of(mixture, levels[number], plan.num_levels)
        z, log_slope = to_normal(cell, levels[number], flat[number], plan.num_levels)
        latents.append(z)
        logs.append(log_slope)
        log_weights = log_weights + cell.log_of_components - cell.log_mass[None]
    lanes, latents = image.shape[3:], jnp.stack(latents)[:, np.argsort(sites)]
    log_det = blocked_sum(jnp.concatenate(logs)).reshape(lanes)
    return by_level(_from_sites(plan, latents, lanes), plan.num_scales, 2), log_det


@jax.jit
def _forward(plan: ImagePlan, params: PyTree, latents: dict[int, Array]) -> tuple[Array, Array]:
    lanes = latents[0].shape[4:]
    flat = _to_sites(plan, over_lattice(latents, 2), params)

    def one_pass(carry: tuple[Array, Array], step: Any) -> tuple[tuple[Array, Array], Array]:
        seen, images = carry
        weights, (targets, inputs, is_input) = step
        pixels = pixels_of(plan, weights, is_input, seen[:, inputs])
        log_weights, before, logs = pixels.logits, [], []
        for number in range(plan.channels):
            mixture = pixels.channel(number, log_weights, before)
            level, x, log_slope, cell = from_normal(mixture, flat[number, targets], plan.num_levels)
            log_weights = log_weights + cell.log_of_components - cell.log_mass[None]
            before.append(_as_seen(plan, x, level))
            images = images.at[number, targets].set(x)
            logs.append(log_slope)
            seen = seen.at[number, targets].set(before[-1])
        return (seen, images), jnp.stack(logs)

    carry, logs = (jnp.zeros_like(flat), jnp.zeros_like(flat)), []
    for group, weights in zip(plan.groups, params, strict=True):
        carry, log = jax.lax.scan(one_pass, carry, (weights, jax.tree.map(jnp.asarray, group)))
        logs.append(log.reshape(-1, flat.shape[-1]))
    return _from_sites(plan, carry[1], lanes), blocked_sum(jnp.concatenate(logs)).reshape(lanes)


def check_params(plan: ImagePlan, params: Any) -> None:
    """Raise ValueError unless the parameters have as many groups of passes as the flow."""
    if not isinstance(params, tuple) or len(params) != len(plan.groups):
        raise ValueError(f"params: expected a tuple of {len(plan.groups)} groups of passes, got {kind_of(params)}")
    level_checks.check_params(params, plan.shapes, len(plan.groups), "groups")


def _generate(plan: ImagePlan, params: PyTree, latents: Any) -> tuple[Array, Array]:
    check_latents(shapes_by_level(plan.shape[:2], plan.num_scales, plan.shape[2:]), latents)
    check_params(plan, params)
    return _forward(plan, params, {level: as_floating("latents", latents[level]) for level in sorted(latents)})


def _renormalise(plan: ImagePlan, params: PyTree, image: Any) -> tuple[dict[int, Array], Array]:
    values = as_floating("image", image)
    if values.shape[:3] != plan.shape:
        raise ValueError(f"image: expected shape {plan.shape}, with lanes last if there are, got {values.shape}")
    check_params(plan, params)
    if not is_traced(values) and not bool(np.all((np.asarray(values) >= 0) & (np.asarray(values) <= 1))):
        low, high = float(np.min(np.asarray(values))), float(np.max(np.asarray(values)))
        raise ValueError(f"image: expected values from 0 to 1, got some from {low:g} to {high:g}")
    return _inverse(plan, params, values)


def image_decimation(
    shape: Sequence[int],
    *,
    num_components: int = 6,
    num_features: int = 48,
    radius: float = 3.2,
    alone: int = 8,
    num_levels: int = 256,
) -> Bijector:
    r"""Decimation of images run backwards as a flow: every pixel's latent is the normal quantile of its level.

    .. math:: P(n) = \prod_i P(n_i \mid n_{\text{known before } i}), \qquad
        P(n_i) = \sum_k w_k \prod_c \int_{n_{ic}/K}^{(n_{ic} + 1)/K} \mathrm{logistic}(x;\, m_{kc}, s_{kc})\, dx

    The pixels of the coarsest levels are drawn one by one, each given all that are known; each further doubling draws
    the (odd, odd) pixels of its lattice, then the two other classes, each in four passes, given those that are known
    within a radius: 12 passes a level, O(log L) in all. The channels of a pixel follow one another in the same mixture,
    whose means are linear in the channels before. Networks of a pass are shared by its pixels, but for a bias of each
    place.

    Inside a level x is uniform, so that uniform dequantisation costs nothing: the bound of bits per dimension is exact.
    Pixels see the levels of others and not the noise inside; derivatives of one pixel by another are those of the
    networks as if levels were continuous.

    Args:
        shape: ``(side, side, channels)``, with a side that is a power of two of at least 4.
        num_components: of the mixture of a pixel.
        num_features: of both hidden layers.
        radius: below 4, in pixels of the level.
        alone: pixels a side, 4 at least, of the largest level that is drawn one by one: what is common to a whole image
            can be decided there.
        num_levels: that a channel can have, 2 to 256.

    Returns:
        A bijector of ``{level: latents}``, in the shapes of `jaxrg.flows.latent_shapes`, and images in [0, 1].

    Raises:
        ValueError: other sides, counts below one, a radius that is not between 0 and 4, ``alone`` below 4, or
            ``num_levels`` below 2 or above 256.

    Example:
        >>> from jaxrg import flows
        >>> flow = image_decimation((8, 8, 1), num_components=2, num_features=4)
        >>> shapes = flows.latent_shapes(flow, (8, 8, 1))
        >>> shapes
        {0: (3, 4, 4, 1), 1: (3, 2, 2, 1), 2: (2, 2, 1)}
        >>> density = flows.density(flow, flows.gaussian(shapes))
        >>> images, log_prob = density.sample(jax.random.key(1), density.init(jax.random.key(0)), 5)
        >>> images.shape, bool((images >= 0).all() & (images <= 1).all())
        ((5, 8, 8, 1), True)

    Reference:
        Reed et al., ICML (2017), for parallel passes from coarse to fine; Salimans, Karpathy, Chen & Kingma, ICLR
        (2017), for the mixture of a pixel.
    """
    plan = _as_plan(shape, num_components, num_features, radius, alone, num_levels)
    return Bijector(*(Partial(fn, plan) for fn in (_init, _generate, _renormalise)))


def plan_of(flow: Bijector) -> ImagePlan:
    """What is static of a flow, which its functions hold.

    Raises:
        ValueError: another bijector.
    """
    plan = next(iter(getattr(getattr(flow, "forward", None), "args", ())), None)
    if not isinstance(plan, ImagePlan):
        raise ValueError(f"flow: expected a flow that image_decimation made, got {kind_of(flow)}")
    return plan


def _as_plan(shape: Any, num_components: Any, num_features: Any, radius: Any, alone: Any, num_levels: Any) -> ImagePlan:
    sides = as_sides("shape", shape)
    if len(sides) != 3 or sides[0] != sides[1] or sides[0] < TOP or sides[0] & (sides[0] - 1):
        raise ValueError(f"shape: expected (side, side, channels), a power of two of at least {TOP}, got {sides}")
    check_number("radius", radius, above=0, below=4)
    counts = as_count("num_components", num_components), as_count("num_features", num_features)
    last = as_count("alone", alone, minimum=TOP), as_count("num_levels", num_levels, minimum=2)
    if last[1] > MAX_LEVELS:
        raise ValueError(f"num_levels: expected at most {MAX_LEVELS}, got {num_levels}")
    return ImagePlan(sides[0], sides[2], *counts, float(radius), *last)
