"""Decimation of a real field run backwards: sites drawn from coarse to fine, each from a mixture of Gaussians."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Bijector, Density, PyTree
from jaxrg.checks import as_count, as_floating, as_parameter, as_sides, check_key, check_number, kind_of
from jaxrg.flows import mixtures
from jaxrg.flows.drawing_order import SPACING, TOP, Group, Pass, Plan
from jaxrg.flows.field_decimation import extended
from jaxrg.flows.hierarchy import check_latents
from jaxrg.flows.initial import normal_weights
from jaxrg.flows.level_checks import check_configurations
from jaxrg.flows.mixtures import Mixture
from jaxrg.flows.passes import by_level, over_lattice, shapes_by_level
from jaxrg.sums import blocked_sum

GAIN = 3.0  # of the tanh of an input in units of the field's deviation


def _init(plan: Plan, log_scale: Array, key: Array) -> PyTree:
    check_key("key", key)
    return _initialised(plan, log_scale, key)


@jax.jit
def _initialised(plan: Plan, log_scale: Array, key: Array) -> PyTree:
    pairs, features, dtype = plan.num_pairs, plan.num_features, log_scale.dtype
    spread = jnp.linspace(0.1, 0.7, pairs, dtype=dtype)
    constants = jnp.concatenate([spread, jnp.zeros_like(spread), jnp.full_like(spread, -1.0)])[:, None]
    groups = []
    for group in plan.groups:
        num_passes, num_inputs = group.is_input.shape
        groups.append(
            {
                "first": (num_passes, features, 2 * num_inputs),
                "second": (num_passes, features, features),
                "even": (num_passes, features, features),
                "odd_head": (num_passes, 1 + 3 * pairs, features),
                "even_head": (num_passes, 3 * pairs, features),
            }
        )
    drawn = normal_weights(key, groups, dtype)
    groups = [
        weights
        | {name: weights[name] / 10 for name in ("odd_head", "even_head")}
        | {
            "kernels": jnp.zeros((len(group.targets), 2, len(group.sites)), dtype),
            "kernel_tilts": jnp.zeros((len(group.targets), pairs, 2), dtype),
            "linear": jnp.zeros((len(group.targets), 1 + pairs, 2 * group.is_input.shape[1]), dtype),
            "constants": jnp.broadcast_to(constants, (len(group.targets), 3 * pairs, 1)),
        }
        for weights, group in zip(drawn, plan.groups, strict=True)
    ]
    return {"log_scale": log_scale, "groups": tuple(groups)}


def _envelope(num_sites: int) -> np.ndarray:
    """``[num_sites]`` 1/(1 + d^2) of distances on a square: optimisers move all entries of a kernel by as much, and the
    many far ones would drown the few near ones."""
    size = int(num_sites**0.5)
    offset = (np.arange(size) + size // 2) % size - size // 2
    return 1 / (1.0 + np.add.outer(offset**2, offset**2)).ravel()


def _mixture(plan: Plan, drawn: Pass, weights: PyTree, level: Array, values: Array) -> Mixture:
    """The mixture of each target, ``[2 num_pairs, lanes]``, of what is known.

    A network sees what is around the target, ``values [num_inputs, lanes]``; two kernels reach over the whole level,
    ``[level_sites, lanes]``, as even a free field asks for: one for the field and one for its tanh.

    Odd features move the means and tilt the pairs, even ones spread them: with the sign of all that is known the
    mixture changes sign.
    """
    pairs = plan.num_pairs
    values = jnp.where(drawn.is_input[:, None], values, 0)
    kernels = weights["kernels"] * jnp.asarray(_envelope(len(drawn.is_known)), level.dtype)[None]
    kernels = jnp.where(drawn.is_known[None, None], kernels[:, drawn.distances], 0)
    reach = jnp.stack([kernels[0] @ level, kernels[1] @ jnp.tanh(GAIN * level)]).reshape(2, -1)
    inputs = jnp.concatenate([values, jnp.tanh(GAIN * values)])
    hidden = jnp.tanh(weights["first"] @ inputs)
    hidden = hidden + jnp.tanh(weights["second"] @ hidden)
    odd = weights["odd_head"] @ hidden
    linear = weights["linear"] @ inputs
    even = weights["even_head"] @ jnp.square(jnp.tanh(weights["even"] @ hidden)) + weights["constants"]
    centre = odd[:1] + linear[:1] + odd[1 : 1 + pairs] + jnp.sum(reach, axis=0, keepdims=True)
    tilt = odd[1 + pairs : 1 + 2 * pairs] + linear[1:] + weights["kernel_tilts"] @ reach
    skew = odd[1 + 2 * pairs :]
    spread, weight, width = even[:pairs], even[pairs : 2 * pairs], even[2 * pairs :]
    logits = jnp.concatenate([weight + tilt, weight - tilt])
    log_scales = jnp.concatenate([width + skew, width - skew])
    means = jnp.concatenate([centre + spread, centre - spread])
    return Mixture(jax.nn.log_softmax(logits, axis=0), means, jnp.clip(log_scales, -7, 3))


def _all_mixtures(plan: Plan, group: Group, weights: PyTree, flat: Array) -> tuple[Mixture, Array]:
    """Of all four passes of a group, ``[2 num_pairs, 4, targets lanes]``, and the values at the targets."""
    num_passes, num_inputs = group.is_input.shape
    around = flat[group.inputs].reshape(num_passes, num_inputs, -1)
    over_passes = jax.vmap(functools.partial(_mixture, plan), (0, 0, None, 0))
    mixture = over_passes(Pass.of(group), weights, flat[group.sites], around)
    mixture = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), mixture)
    return mixture, flat[group.targets].reshape(num_passes, -1)


def _drawn(plan: Plan, params: PyTree, flat: Array, draw: Any) -> tuple[Array, Array]:
    """Fill the sites group by group, pass by pass: ``values, logs = draw(number, mixture, old values)``."""
    logs = []
    for number, (group, weights) in enumerate(zip(plan.groups, params["groups"], strict=True)):

        def one_pass(flat: Array, step: Any, number=number, sites=group.sites) -> tuple[Array, Array]:
            index, drawn, weights = step
            around = flat[drawn.inputs].reshape(len(drawn.inputs), -1)
            mixture = _mixture(plan, drawn, weights, flat[sites], around)
            old = flat[drawn.targets]
            values, log = draw(SPACING * number + index, mixture, old.reshape(-1))
            return flat.at[drawn.targets].set(values.reshape(old.shape)), log.reshape(old.shape)

        steps = jnp.arange(len(group.targets), dtype=jnp.uint32), Pass.of(group), weights
        flat, log = jax.lax.scan(one_pass, flat, steps)
        logs.append(log.reshape(-1, flat.shape[-1]))
    return flat, blocked_sum(jnp.concatenate(logs))


def _volume(plan: Plan, params: PyTree) -> Array:
    """ln of the volume of a field over that of the same in units of its scale."""
    return plan.side**2 * params["log_scale"]


def _as_flat(plan: Plan, params: PyTree, field: Array, name: str = "event") -> tuple[Array, tuple[int, ...]]:
    """``[sites, lanes]`` of ``[side, side, *lanes]``, in the dtype of the parameters or wider."""
    shape = (plan.side, plan.side)
    if getattr(field, "shape", ())[:2] != shape:
        raise ValueError(f"{name}: expected shape {shape}, and lanes after these axes, got {kind_of(field)}")
    if not isinstance(params, dict) or len(params.get("groups", ())) != len(plan.groups):
        raise ValueError(f"params: expected those of {len(plan.groups)} groups of passes, got {kind_of(params)}")
    return field.reshape(plan.side**2, -1), field.shape[2:]


@jax.jit
def _inverse(plan: Plan, params: PyTree, field: Array) -> tuple[dict[int, Array], Array]:
    flat, lanes = _as_flat(plan, params, field)
    flat = flat * jnp.exp(-params["log_scale"])
    latents, logs = jnp.zeros_like(flat), []
    for group, weights in zip(plan.groups, params["groups"], strict=True):
        z, log_slope = mixtures.to_normal(*_all_mixtures(plan, group, weights, flat))
        latents = latents.at[group.targets.reshape(-1)].set(z.reshape(-1, flat.shape[-1]))
        logs.append(log_slope.reshape(-1, flat.shape[-1]))
    log_det = blocked_sum(jnp.concatenate(logs)) - _volume(plan, params)
    return by_level(latents.reshape(field.shape), plan.num_scales, 2), log_det.reshape(lanes)


@jax.jit
def _forward(plan: Plan, params: PyTree, latents: dict[int, Array]) -> tuple[Array, Array]:
    lattice = over_lattice(latents, 2)
    flat, lanes = _as_flat(plan, params, lattice)
    field, log_det = _drawn(plan, params, flat, lambda _, mixture, z: mixtures.from_normal(mixture, z))
    log_det = log_det + _volume(plan, params)
    return (field * jnp.exp(params["log_scale"])).reshape(lattice.shape), log_det.reshape(lanes)


@jax.jit
def _log_prob(plan: Plan, params: PyTree, fields: Array) -> Array:
    flat, _ = _as_flat(plan, params, jnp.moveaxis(fields, 0, -1), "configurations")
    flat = flat * jnp.exp(-params["log_scale"])
    logs = [
        mixtures.log_density(*_all_mixtures(plan, group, weights, flat)).reshape(-1, flat.shape[-1])
        for group, weights in zip(plan.groups, params["groups"], strict=True)
    ]
    return blocked_sum(jnp.concatenate(logs)) - _volume(plan, params)


@functools.partial(jax.jit, static_argnames="num_samples")
def _sampled(plan: Plan, key: Array, params: PyTree, *, num_samples: int) -> tuple[Array, Array]:
    def draw(number: Array, mixture: Mixture, _: Array) -> tuple[Array, Array]:
        values = mixtures.draw(mixture, jax.random.fold_in(key, number))
        return values, mixtures.log_density(mixture, values)

    start = jnp.zeros((plan.side**2, num_samples), params["log_scale"].dtype)
    flat, log_prob = _drawn(plan, params, start, draw)
    fields = (flat * jnp.exp(params["log_scale"])).T.reshape(num_samples, plan.side, plan.side)
    return fields, log_prob - _volume(plan, params)


def _sample(plan: Plan, key: Array, params: PyTree, num_samples: int) -> tuple[Array, Array]:
    check_key("key", key)
    return _sampled(plan, key, params, num_samples=as_count("num_samples", num_samples))


def _evaluate(plan: Plan, params: PyTree, configurations: Array) -> Array:
    fields = as_floating("configurations", configurations)
    check_configurations("configurations", fields, (plan.side, plan.side))
    return _log_prob(plan, params, fields)


def _generate(plan: Plan, params: PyTree, latents: Any) -> tuple[Array, Array]:
    check_latents(shapes_by_level((plan.side, plan.side), plan.num_scales, ()), latents)
    return _forward(plan, params, {level: as_floating("latents", latents[level]) for level in sorted(latents)})


def _renormalise(plan: Plan, params: PyTree, field: Any) -> tuple[dict[int, Array], Array]:
    return _inverse(plan, params, as_floating("event", field))


def _as_plan(shape: Any, num_pairs: Any, num_features: Any, radius: Any) -> Plan:
    sides = as_sides("shape", shape)
    if len(sides) != 2 or sides[0] != sides[1] or sides[0] < TOP or sides[0] & (sides[0] - 1):
        raise ValueError(f"shape: expected two equal sides, a power of two of at least {TOP}, got {sides}")
    check_number("radius", radius, above=0, below=4)
    counts = as_count("num_pairs", num_pairs), as_count("num_features", num_features)
    return Plan(sides[0], *counts, float(radius))


def _as_log_scale(scale: Any) -> Array:
    check_number("scale", scale, above=0)
    return jax.jit(jnp.log)(as_parameter("scale", scale))


def decimation_flow(
    shape: Sequence[int], *, scale: Any = 1.0, num_pairs: int = 3, num_features: int = 24, radius: float = 3.2
) -> Bijector:
    r"""Decimation run backwards as a flow: every site's latent is a standard normal number, the quantile of its value.

    .. math:: q(x) = \prod_i q(x_i \mid x_{\text{known before } i}), \qquad
        z_i = \Phi^{-1}\bigl(F(x_i \mid x_{\text{known before } i})\bigr)

    On a square lattice the sites of the coarsest level, 2 x 2, are drawn one by one. Each doubling draws the (odd, odd)
    sites of its lattice, then the two other classes, each in four passes of sites that are four apart, given what is
    known: 12 passes a level, O(log L) in all. Every conditional is a mixture of Gaussians, whose centres, weights and
    widths a small network tells that sees a radius, beside kernels over the whole level; it is exactly odd, so that
    q(x) = q(-x). Generation goes pass by pass and solves for each quantile by bisection; renormalisation, the other
    way, does all passes at once.

    Levels hold their weights one after another, from coarse to fine, in ``params["groups"]``: the four sites on top,
    then three classes a level. `extended_decimation` makes of them the start of a flow on a lattice twice as large.

    Args:
        shape: two equal sides, a power of two of at least 4; the boundary is periodic.
        scale: about the standard deviation of a site; the parameters start from it.
        num_pairs: pairs of Gaussians that change places under a change of sign.
        num_features: of both hidden layers.
        radius: below 4, in sites of the level.

    Returns:
        A bijector of ``{level: latents}``, in the shapes of `latent_shapes`, and fields ``[*shape]``. See
        `decimation_density` for its density with standard normal latents, which needs no bisection.

    Raises:
        ValueError: other sides, counts below one, a scale or a radius that is not positive.

    Example:
        >>> flow = decimation_flow((4, 4), num_pairs=1, num_features=2)
        >>> params, field = flow.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (4, 4))
        >>> latents, log_det = flow.inverse(params, field)
        >>> {level: part.shape for level, part in latents.items()}
        {0: (3, 2, 2), 1: (2, 2)}
        >>> found, back = flow.forward(params, latents)
        >>> bool(jnp.allclose(found, field, atol=1e-4)), bool(jnp.allclose(log_det, -back, atol=1e-4))
        (True, True)

    Reference:
        Bauer, Kapust, Pawlowski & Temmen, arXiv:2412.12842 (2024), and Singha et al., arXiv:2503.08918 (2025), for
        samplers of this order.
    """
    plan, log_scale = _as_plan(shape, num_pairs, num_features, radius), _as_log_scale(scale)
    return Bijector(Partial(_init, plan, log_scale), Partial(_generate, plan), Partial(_renormalise, plan))


def decimation_density(
    shape: Sequence[int], *, scale: Any = 1.0, num_pairs: int = 3, num_features: int = 24, radius: float = 3.2
) -> Density:
    """The density of `decimation_flow` with standard normal latents: the same parameters and values, without bisection.

    A draw takes its component first; its derivatives by the parameters are those of a fixed latent, so `reverse_kl`
    and `path_gradient` work as with any flow, and `forward_kl` evaluates all sites at once. Arguments and errors are
    those of `decimation_flow`.

    Example:
        >>> density = decimation_density((4, 4), num_features=4)
        >>> params = density.init(jax.random.key(0))
        >>> fields, log_prob = density.sample(jax.random.key(1), params, 5)
        >>> bool(jnp.allclose(density.log_prob(params, fields), log_prob, atol=1e-4))
        True
        >>> bool(jnp.allclose(density.log_prob(params, -fields), log_prob, atol=1e-4))
        True
    """
    plan, log_scale = _as_plan(shape, num_pairs, num_features, radius), _as_log_scale(scale)
    return Density(Partial(_init, plan, log_scale), Partial(_sample, plan), Partial(_evaluate, plan))


def extended_decimation(params: PyTree) -> PyTree:
    """Parameters of a decimation on a lattice twice as large, which begins with what a smaller one has learned.

    Levels take over by their distance from the finest, where a local action looks the same on every lattice; a coarse
    one in between begins as the next coarser one was, as at a critical point all levels are alike. Kernels gain zeros
    far out. Of `field_decimation` two levels or more must be drawn in passes of sites four apart, as from side 16 on.

    Args:
        params: of `decimation_flow`, or a density of this kind, on a lattice of side 8 or more; `field_decimation`: 16.

    Returns:
        Parameters for twice the side, with the same numbers of pairs and features and the same radius.

    Raises:
        ValueError: other parameters, or those of a smaller side.

    Example:
        >>> params = decimation_density((8, 8), num_pairs=1, num_features=2).init(jax.random.key(0))
        >>> len(params["groups"]), len(extended_decimation(params)["groups"])
        (7, 10)
    """
    if isinstance(params, dict) and "levels" in params:
        return extended(params)
    groups = params.get("groups", ()) if isinstance(params, dict) else ()
    if len(groups) < 7 or len(groups) % 3 != 1:
        raise ValueError(f"params: expected those of a decimation of side 8 or more, got {kind_of(params)}")
    return _extended(params)


@jax.jit
def _extended(params: PyTree) -> PyTree:
    groups = params["groups"]
    return params | {
        "groups": groups[:7] + tuple(group | {"kernels": _wider(group["kernels"])} for group in groups[4:])
    }


def _wider(kernels: Array) -> Array:
    """``[..., (2n)^2]`` of ``[..., n^2]``: the same at the same distance."""
    size = int(kernels.shape[-1] ** 0.5)
    half, axes = size // 2, (-2, -1)
    square = jnp.roll(kernels.reshape(*kernels.shape[:-1], size, size), (half, half), axes)
    padded = jnp.pad(square, [(0, 0)] * (square.ndim - 2) + [(half, half)] * 2)
    return jnp.roll(padded, (-size, -size), axes).reshape(*kernels.shape[:-1], -1)
