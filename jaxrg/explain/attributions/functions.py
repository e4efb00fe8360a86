"""Attributions of any function by its gradients and by removing inputs, as their authors define them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_floating
from jaxrg.explain.attributions.attribution import Attribution, as_function, as_inputs, attribute, number_of
from jaxrg.interactions import num_players_of, shapley_values
from jaxrg.tables import MAX_BYTES, all_bits, check_table


class GradCam(NamedTuple):
    """Importance of the positions of a feature map."""

    heat_map: Array  # [rows, columns], the positive part of the scores, as published
    scores: Array  # [rows, columns], before the ReLU
    channel_weights: Array  # [channels]


def gradient_times_input(
    function: Callable[[Array], Array], sample: ArrayLike, baseline: ArrayLike | None = None
) -> Attribution:
    r"""Gradient × Input, :math:`a_i = (x_i - b_i)\, \partial f(x)/\partial x_i`; b is zero as published.

    Example:
        >>> gradient_times_input(lambda x: x[0] * x[1], jnp.array([2.0, 3.0])).values.tolist()
        [6.0, 6.0]

    Reference:
        Shrikumar, Greenside, Shcherbina & Kundaje, arXiv:1605.01713 (2016).
    """
    if baseline is None:
        (sample,) = as_inputs(sample)
        return _gradient_times_input(as_function(function), sample, np.zeros(sample.shape, sample.dtype))
    return _gradient_times_input(as_function(function), *as_inputs(sample, baseline=baseline))


@jax.jit
def _gradient_times_input(function: Partial, sample: Array, baseline: Array) -> Attribution:
    value = number_of(function, is_differentiated=True)
    return attribute((sample - baseline) * jax.grad(value)(sample), value(sample) - value(baseline))


def integrated_gradients(
    function: Callable[[Array], Array], sample: ArrayLike, baseline: ArrayLike, *, num_nodes: int = 64
) -> Attribution:
    r"""Integrated gradients, :math:`a_i = (x_i - b_i) \int_0^1 \partial_i f(b + t(x - b))\, dt`.

    A Gauss-Legendre rule of ``num_nodes`` is exact on polynomials of degree up to twice as many. The gradient of a ReLU
    network jumps along the path, and there the error, of which ``completeness_gap`` is a measure, falls as the inverse
    of the number of nodes only.

    Example:
        >>> found = integrated_gradients(lambda x: x[0] * x[1] ** 2, jnp.ones(2), jnp.zeros(2))
        >>> [round(float(value), 3) for value in found.values], abs(float(found.completeness_gap)) < 1e-5
        ([0.333, 0.667], True)

    Reference:
        Sundararajan, Taly & Yan, ICML 2017, arXiv:1703.01365.
    """
    sample, baseline = as_inputs(sample, baseline=baseline)
    return _integrated(as_function(function), sample, baseline, *_gauss_legendre(as_count("num_nodes", num_nodes)))


def expected_gradients(
    function: Callable[[Array], Array], sample: ArrayLike, backgrounds: ArrayLike, *, num_nodes: int = 64
) -> Attribution:
    """Expected gradients: integrated gradients averaged over a set of baselines, and so is their completeness gap.

    Reference:
        Erion, Janizek, Sturmfels, Lundberg & Lee, Nat. Mach. Intell. 3, 620 (2021), arXiv:1906.10670.
    """
    sample, backgrounds = as_inputs(sample, backgrounds=backgrounds)
    return _integrated(as_function(function), sample, backgrounds, *_gauss_legendre(as_count("num_nodes", num_nodes)))


@functools.lru_cache(maxsize=64)
def _gauss_legendre(num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights in [0, 1]."""
    places, weights = np.polynomial.legendre.leggauss(num_nodes)
    return 0.5 * (places + 1), 0.5 * weights


@jax.jit
def _integrated(function: Partial, sample: Array, backgrounds: Array, places: Array, weights: Array) -> Attribution:
    value = number_of(function, is_differentiated=True)
    places, weights = places.astype(sample.dtype), weights.astype(sample.dtype)

    def one(baseline: Array) -> Attribution:
        difference = sample - baseline
        points = baseline[None] + places[:, None] * difference[None]
        values = difference * (weights @ jax.vmap(jax.grad(value))(points))
        return attribute(values, value(sample) - value(baseline))

    found = jax.vmap(one)(backgrounds.reshape(-1, *sample.shape))
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), found)


def grad_cam(head: Callable[[Array], Array], features: ArrayLike) -> GradCam:
    r"""Grad-CAM, :math:`L_p = \mathrm{ReLU} \sum_k \alpha_k A_{pk}` with
    :math:`\alpha_k = \frac{1}{|P|} \sum_p \partial y / \partial A_{pk}`.

    Args:
        head: scalar of one feature map, the class score by the layers above it.
        features: A ``[rows, columns, channels]``.

    Returns:
        `GradCam`, which has nothing to be complete in: positions are ranked, nothing is given away.

    Reference:
        Selvaraju et al., ICCV 2017, arXiv:1610.02391.
    """
    features = as_floating("features", features)
    if features.ndim != 3 or not features.size:
        raise ValueError(f"features: expected [rows, columns, channels], got shape {features.shape}")
    return _grad_cam(as_function(head), features)


@jax.jit
def _grad_cam(head: Partial, features: Array) -> GradCam:
    weights = jnp.mean(jax.grad(number_of(head, is_differentiated=True))(features), axis=(0, 1))
    scores = features @ weights
    return GradCam(jax.nn.relu(scores), scores, weights)


def occlusion(function: Callable[[Array], Array], sample: ArrayLike, baseline: ArrayLike) -> Attribution:
    r"""Occlusion-1, :math:`a_i = f(x) - f(x_{\setminus i}, b_i)`.

    Example:
        >>> occlusion(lambda x: x[0] * x[1], jnp.array([2.0, 3.0]), jnp.zeros(2)).values.tolist()
        [6.0, 6.0]

    Reference:
        Zeiler & Fergus, ECCV 2014, arXiv:1311.2901.
    """
    sample, baseline = as_inputs(sample, baseline=baseline)
    return _occluded(as_function(function), sample, baseline, np.arange(sample.shape[0]), num_patches=sample.shape[0])


def occlusion_patch(
    function: Callable[[Array], Array], sample: ArrayLike, baseline: ArrayLike, assignment: np.ndarray
) -> Attribution:
    r"""Occlusion-patch: what a patch's removal costs, given to each of its entries,
    :math:`a_i = f(x) - f(x_{\setminus p}, b_p)` for i in p; ``assignment`` is the patch of every entry, int ``[n]``,
    and -1 that of entries that are never removed and given nothing.

    Reference:
        Zeiler & Fergus, ECCV 2014, arXiv:1311.2901.
    """
    sample, baseline = as_inputs(sample, baseline=baseline)
    patches = _patches(assignment, sample)
    return _occluded(as_function(function), sample, baseline, patches, num_patches=num_players_of(patches))


def _patches(assignment: Any, sample: Array) -> np.ndarray:
    patches = np.asarray(assignment)
    if patches.shape != sample.shape:
        raise ValueError(f"assignment: expected the sample's shape {sample.shape}, got {patches.shape}")
    if not num_players_of(patches):
        raise ValueError("assignment: expected at least one patch, got none")
    return patches


def prediction_difference(function: Callable[[Array], Array], sample: ArrayLike, backgrounds: ArrayLike) -> Attribution:
    r"""Prediction difference, :math:`a_i = f(x) - E_b f(x_{\setminus i}, b_i)`.

    Reference:
        Robnik-Šikonja & Kononenko, IEEE TKDE 20, 589 (2008); Zintgraf et al., ICLR 2017, arXiv:1702.04595, who draw
        the backgrounds from the conditional distribution.
    """
    sample, backgrounds = as_inputs(sample, backgrounds=backgrounds)
    each = np.arange(sample.shape[0])
    return _occluded(as_function(function), sample, backgrounds, each, num_patches=sample.shape[0])


@functools.partial(jax.jit, static_argnames="num_patches")
def _occluded(function: Partial, sample: Array, backgrounds: Array, patches: Array, *, num_patches: int) -> Attribution:
    value = number_of(function)
    is_gone = jnp.arange(num_patches, dtype=patches.dtype)[:, None] == patches[None]

    def one(baseline: Array) -> Attribution:
        cost = value(sample) - jax.vmap(value)(jnp.where(is_gone, baseline[None], sample[None]))
        return attribute(jnp.where(patches < 0, 0, cost[patches]), value(sample) - value(baseline))

    found = jax.vmap(one)(backgrounds.reshape(-1, *sample.shape))
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), found)


def shapley(
    function: Callable[[Array], Array], sample: ArrayLike, baseline: ArrayLike, *, max_bytes: int = MAX_BYTES
) -> Attribution:
    r"""Shapley values of the inputs, :math:`a_i = \sum_{S \not\ni i} \frac{|S|!(n-|S|-1)!}{n!} [v(S \cup i) - v(S)]`.

    For patches, tokens or sampled coalitions there is `interactions.masked_game` with `interactions.shapley_values`.

    Args:
        max_bytes: for the inputs of all coalitions; what the function needs in between comes on top.

    Example:
        >>> shapley(lambda x: x[0] * x[1] ** 2, jnp.ones(2), jnp.zeros(2)).values.tolist()
        [0.5, 0.5]

    Reference:
        Shapley, Contributions to the Theory of Games II, 307 (1953); Lundberg & Lee, NIPS 2017, arXiv:1705.07874.
    """
    sample, baseline = as_inputs(sample, baseline=baseline)
    # Each coalition: its mask, its inputs twice, and what the function and its transform make of them.
    itemsize = sample.shape[0] * (1 + 2 * sample.dtype.itemsize) + 2 * sample.dtype.itemsize
    check_table(sample.shape[0], itemsize=itemsize, max_bytes=as_count("max_bytes", max_bytes), name="inputs")
    return _shapley(as_function(function), sample, baseline)


@jax.jit
def _shapley(function: Partial, sample: Array, baseline: Array) -> Attribution:
    value = number_of(function)
    values = jax.vmap(value)(jnp.where(all_bits(sample.shape[0]), sample[None], baseline[None]))
    return attribute(shapley_values(values), value(sample) - value(baseline))
