r"""Whether a picture says anything of the network: its checks, to be shown beside it.

`weight_randomization` replaces a network's layers by untrained ones, from the output down. Of a picture made by a few
inputs with noise added (`smooth`) it is the sMPRT of Hedström et al., and the `complexity` of the picture of a network
without any trained layer, relative to that of the trained one, is their eMPRT.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.base import PyTree, safe_divide
from jaxrg.checks import as_count, as_floating, as_floating_alike, check_function, check_key, check_number, kind_of
from jaxrg.closures import as_partial
from jaxrg.explain.hidden.derivatives import Rule
from jaxrg.explain.hidden.pictures import check_differentiable, nan_of, with_relu_rule
from jaxrg.explain.hidden.taps import check_outside_loops, run
from jaxrg.explain.transplants import transplant
from jaxrg.explain.transplants.layers import num_layers_of


class WeightRandomization(NamedTuple):
    """Pictures as more and more of a network is random, with 0, 1, ..., all layers replaced from the output down."""

    pictures: Array  # [num_layers + 1, *picture]
    rank_correlation: Array  # [num_layers + 1], Spearman's, with the first picture; NaN of one that is constant
    absolute_rank_correlation: Array  # [num_layers + 1], of the absolute values
    complexity: Array  # [num_layers + 1]


def weight_randomization(
    explain: Callable[[PyTree, Array], Array],
    params: PyTree,
    fresh: PyTree,
    layers: PyTree,
    sample: ArrayLike,
) -> WeightRandomization:
    """Pictures of one sample by a network whose layers are replaced by untrained ones, one more at a time.

    A picture that stays what it was says nothing of the layers that are gone.

    Args:
        explain: ``picture = explain(params, sample)``, as ``lambda params, x: deconvnet(partial(score, params), x)``.
        params: the trained parameters.
        fresh: untrained ones, as by the network's ``init`` with another key.
        layers: the layer of every parameter, by `transplants.layer_numbers`.
        sample: one input.

    Raises:
        ValueError: trees or shapes that differ; a picture without entries.

    Reference:
        Adebayo et al., NeurIPS 2018, arXiv:1810.03292; Hedström et al., arXiv:2401.06465 and 2405.02383.
    """
    check_function("explain", explain, of="parameters and one input")
    num_layers_of(layers)
    numbers, structure = jax.tree.flatten(layers)
    numbered = tuple(map(int, numbers)), structure
    return _randomised(as_partial(explain), params, fresh, as_floating("sample", sample), numbered=numbered)


@functools.partial(jax.jit, static_argnames="numbered")
def _randomised(
    explain: Partial, params: PyTree, fresh: PyTree, sample: Array, *, numbered: tuple[tuple[int, ...], Any]
) -> WeightRandomization:
    layers = jax.tree.unflatten(numbered[1], numbered[0])
    num_layers = num_layers_of(layers)

    def one(num_kept: Array) -> Array:
        return as_floating("explain", explain(transplant(params, fresh, layers, num_kept), sample))

    pictures = jax.lax.map(one, jnp.arange(num_layers, -1, -1, dtype=jnp.int32))
    if pictures.size == 0:
        raise ValueError(f"explain: expected a picture with entries, got shape {pictures.shape[1:]}")
    pictures = nan_of(sample, pictures)
    flat = pictures.reshape(len(pictures), -1)
    plain, absolute = (jax.vmap(_rank_correlation, (0, None))(part, part[0]) for part in (flat, jnp.abs(flat)))
    return WeightRandomization(pictures, plain, absolute, jax.vmap(_complexity)(flat))


def _ranks(values: Array) -> Array:
    """Ranks, of equal values their mean."""
    ordered = jnp.sort(values)
    low, high = (jnp.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return jnp.where(jnp.isnan(values), jnp.nan, 0.5 * (low + high).astype(values.dtype))


def rank_correlation(first: ArrayLike, second: ArrayLike) -> Array:
    """Spearman's rank correlation of two pictures, scalar; NaN if one is the same everywhere or has NaN.

    Raises:
        ValueError: pictures of different shapes, or without entries.

    Example:
        >>> round(float(rank_correlation(jnp.array([1.0, 2.0, 3.0]), jnp.array([10.0, 30.0, 20.0]))), 6)
        0.5
    """
    left, right = as_floating_alike(first=first, second=second)
    if not left.size or left.shape != right.shape:
        raise ValueError(f"second: expected entries in the shape of first, {left.shape}, got shape {right.shape}")
    return _rank_correlation_of(left.reshape(-1), right.reshape(-1))


def _rank_correlation(first: Array, second: Array) -> Array:
    left, right = (ranks - jnp.mean(ranks) for ranks in (_ranks(first), _ranks(second)))
    return jnp.sum(left * right) / (jnp.linalg.norm(left) * jnp.linalg.norm(right))


_rank_correlation_of = jax.jit(_rank_correlation)


NUM_BINS = 100  # as in the reference


def complexity(picture: ArrayLike) -> Array:
    r"""Entropy of the histogram of a picture's values, in nats: that of noise is large, that of a clear picture small.

    .. math:: \xi = -\sum_b p_b \ln p_b

    over 100 bins of equal width between its smallest and its largest value; NaN for one with such values.

    Raises:
        ValueError: no picture, or one without entries.

    Example:
        >>> round(float(complexity(jnp.arange(100.0))), 4), float(complexity(jnp.ones(100)))  # ln 100, and nothing
        (4.6052, 0.0)

    Reference:
        Hedström et al., arXiv:2401.06465, whose eMPRT is the relative change of it.
    """
    values = as_floating("picture", picture)
    if not values.size:
        raise ValueError(f"picture: expected one with entries, got {kind_of(values)}")
    return _complexity_of(values.reshape(-1))


def _complexity(values: Array) -> Array:
    low, high = jnp.min(values), jnp.max(values)
    place = jnp.floor(safe_divide(values - low, high - low) * NUM_BINS).astype(jnp.int32)
    counts = jnp.zeros(NUM_BINS, values.dtype).at[jnp.clip(place, 0, NUM_BINS - 1)].add(1)
    share = counts / values.size
    entropy = jnp.sum(jnp.where(share > 0, share * jnp.log(1 / jnp.where(share > 0, share, 1)), 0))
    return jnp.where(jnp.isfinite(low) & jnp.isfinite(high), entropy, jnp.nan)


_complexity_of = jax.jit(_complexity)


def smooth(
    key: Array, explain: Callable[[PyTree, Array], Array], *, num_draws: int = 50, noise: float | Array = 0.2
) -> Partial:
    r"""The mean of a picture over a sample with noise added, as a function like ``explain``.

    .. math:: \bar e(\theta, x) = \frac1N \sum_n e(\theta, x + \sigma\,(\max x - \min x)\,\epsilon_n)

    Args:
        key: of the noise, which is the same whatever the parameters.
        explain: ``picture = explain(params, sample)``.
        num_draws: N.
        noise: σ, relative to the range of the sample.

    Raises:
        ValueError: no key, function or count.

    Reference:
        Smilkov et al., arXiv:1706.03825 (SmoothGrad); Hedström et al., arXiv:2405.02383 (sMPRT).
    """
    check_key("key", key)
    check_function("explain", explain, of="parameters and one input")
    check_number("noise", noise)
    return Partial(_Smooth(as_count("num_draws", num_draws)), key, as_partial(explain), as_floating("noise", noise))


class _Smooth(NamedTuple):
    num_draws: int

    def __call__(self, key: Array, explain: Partial, noise: Array, params: PyTree, sample: Array) -> Array:
        values = as_floating("sample", sample)
        scale = noise.astype(values.dtype) * (jnp.max(values) - jnp.min(values))

        def one(draw_key: Array) -> Array:
            return explain(params, values + scale * jax.random.normal(draw_key, values.shape, values.dtype))

        return jnp.mean(jax.lax.map(one, jax.random.split(key, self.num_draws)), axis=0)


def cosine_convergence(
    key: Array,
    function: Callable[[Array], Array],
    sample: ArrayLike,
    sites: Sequence[str],
    rule: Rule,
    *,
    num_pairs: int = 16,
) -> Array:
    r"""How alike two random signals become on their way back from the output: the cosine similarity convergence.

    .. math:: c_\ell = \mathrm{median}\, \frac{|\langle J_\ell^T u, J_\ell^T v\rangle|}{|J_\ell^T u|\,|J_\ell^T v|},
        \qquad u, v \sim N(0, 1)

    with the rule in place of the derivative of every ReLU. Where it has reached 1, what comes back does not depend on
    what set out: the picture does not know the layers above. Random directions of n values have 0.67/√n.

    Args:
        key: of the signals.
        function: outputs ``[...]`` of one input; the signals start at all of them.
        sample: one input.
        sites: names of sites outside of loops, as for `run`.
        rule: what a ReLU lets back: `gradient_rule`, `deconvnet_rule`, `guided_rule` or another `Rule`.
        num_pairs: of signals; a pair of which nothing comes back is left out, NaN if all are.

    Returns:
        ``[sites + 1]``: at each site, and at the sample.

    Raises:
        ValueError: as `run`; an output without a derivative, or a site of integers.

    Reference:
        Sixt, Granz & Landgraf, ICML 2020, arXiv:1912.09818.
    """
    check_key("key", key)
    check_function("function", function, of="one input")
    check_function("rule", rule, of="a pullback, a cotangent and the input of a ReLU")
    if isinstance(sites, str) or not all(isinstance(site, str) for site in sites):
        raise ValueError(f"sites: expected names of sites, got {kind_of(sites)}")
    num_pairs = as_count("num_pairs", num_pairs)
    given = as_floating("sample", sample)
    return _convergence(key, as_partial(function), given, as_partial(rule), sites=tuple(sites), num_pairs=num_pairs)


@functools.partial(jax.jit, static_argnames=("sites", "num_pairs"))
def _convergence(
    key: Array, function: Partial, sample: Array, rule: Rule, *, sites: tuple[str, ...], num_pairs: int
) -> Array:
    check_differentiable(function, sample)
    check_outside_loops("sites", function, sites, sample)
    values = jax.eval_shape(lambda x: run(function, x, read=sites).values, sample)
    for site, value in values.items():
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise ValueError(f"sites: expected floating values, got {site!r} with dtype {value.dtype}")
    shifts = {site: jnp.zeros(value.shape, value.dtype) for site, value in values.items()}

    def outputs(inputs: Array, shifts: dict[str, Array]) -> Array:
        """The derivative by a shift of a site is what comes back to it."""
        changes = {site: functools.partial(jnp.add, shift) for site, shift in shifts.items()}
        shifted = lambda x: run(function, x, set=changes).output  # noqa: E731
        return with_relu_rule(shifted, rule, (inputs,))[0][0]

    output, pullback = jax.vjp(outputs, sample, shifts)
    signals = jax.random.normal(key, (num_pairs, 2, *output.shape), output.dtype)

    def similarity(pair: Array) -> Array:
        last, inside = jax.vmap(pullback)(pair)
        parts = [inside[site].reshape(2, -1) for site in sites] + [last.reshape(2, -1)]
        return jnp.stack([_cosine(*part) for part in parts])

    return nan_of(output, jnp.nanmedian(jax.lax.map(similarity, signals), axis=0))


def _cosine(first: Array, second: Array) -> Array:
    """Of their lines; NaN where one is zero."""
    return jnp.abs(jnp.sum(first * second)) / (jnp.linalg.norm(first) * jnp.linalg.norm(second))
