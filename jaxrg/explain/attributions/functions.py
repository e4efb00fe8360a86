"""Attributions of any function by its gradients and by removing inputs, as their authors define them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import check_count
from jaxrg.interactions import num_players_of, shapley_values
from jaxrg.tables import MAX_BYTES, all_bits, check_table


class GradCam(NamedTuple):
    """Importance of the positions of a feature map."""

    heat_map: Array  # [rows, columns], the positive part of the scores, as published
    scores: Array  # [rows, columns], before the ReLU
    channel_weights: Array  # [channels]


def gradient_times_input(function: Callable[[Array], Array], sample: Array, baseline: Array | None = None) -> Array:
    r"""Gradient × Input, :math:`a_i = (x_i - b_i)\, \partial f(x)/\partial x_i`; b is zero as published.

    Example:
        >>> gradient_times_input(lambda x: x[0] * x[1], jnp.array([2.0, 3.0])).tolist()
        [6.0, 6.0]

    Reference:
        Shrikumar, Greenside, Shcherbina & Kundaje, arXiv:1605.01713 (2016).
    """
    return (sample if baseline is None else sample - baseline) * jax.grad(function)(sample)


def integrated_gradients(
    function: Callable[[Array], Array], sample: Array, baseline: Array, *, num_nodes: int = 32
) -> Array:
    r"""Integrated gradients, :math:`a_i = (x_i - b_i) \int_0^1 \partial_i f(b + t(x - b))\, dt`.

    A Gauss-Legendre rule of ``num_nodes`` is exact on polynomials of degree up to twice as many.

    Example:
        >>> found = integrated_gradients(lambda x: x[0] * x[1] ** 2, jnp.ones(2), jnp.zeros(2))
        >>> [round(float(value), 3) for value in found]
        [0.333, 0.667]

    Reference:
        Sundararajan, Taly & Yan, ICML 2017, arXiv:1703.01365.
    """
    check_count("num_nodes", num_nodes)
    places, weights = np.polynomial.legendre.leggauss(num_nodes)
    difference = sample - baseline
    points = baseline[None] + jnp.asarray(0.5 * (places + 1), sample.dtype)[:, None] * difference[None]
    return difference * (jnp.asarray(0.5 * weights, sample.dtype) @ jax.vmap(jax.grad(function))(points))


def expected_gradients(
    function: Callable[[Array], Array], sample: Array, backgrounds: Array, *, num_nodes: int = 32
) -> Array:
    """Expected gradients: integrated gradients averaged over a set of baselines.

    Reference:
        Erion, Janizek, Sturmfels, Lundberg & Lee, Nat. Mach. Intell. 3, 620 (2021), arXiv:1906.10670.
    """
    one = lambda baseline: integrated_gradients(function, sample, baseline, num_nodes=num_nodes)  # noqa: E731
    return jnp.mean(jax.vmap(one)(backgrounds), axis=0)


def grad_cam(head: Callable[[Array], Array], features: Array) -> GradCam:
    r"""Grad-CAM, :math:`L_p = \mathrm{ReLU} \sum_k \alpha_k A_{pk}` with
    :math:`\alpha_k = \frac{1}{|P|} \sum_p \partial y / \partial A_{pk}`.

    Args:
        head: scalar of one feature map, the class score by the layers above it.
        features: A ``[rows, columns, channels]``.

    Reference:
        Selvaraju et al., ICCV 2017, arXiv:1610.02391.
    """
    if features.ndim != 3:
        raise ValueError(f"features: expected [rows, columns, channels], got shape {features.shape}")
    weights = jnp.mean(jax.grad(head)(features), axis=(0, 1))
    scores = features @ weights
    return GradCam(jax.nn.relu(scores), scores, weights)


def occlusion(function: Callable[[Array], Array], sample: Array, baseline: Array) -> Array:
    r"""Occlusion-1, :math:`a_i = f(x) - f(x_{\setminus i}, b_i)`.

    Example:
        >>> occlusion(lambda x: x[0] * x[1], jnp.array([2.0, 3.0]), jnp.zeros(2)).tolist()
        [6.0, 6.0]

    Reference:
        Zeiler & Fergus, ECCV 2014, arXiv:1311.2901.
    """
    return occlusion_patch(function, sample, baseline, np.arange(sample.shape[0]))


def occlusion_patch(
    function: Callable[[Array], Array], sample: Array, baseline: Array, assignment: np.ndarray
) -> Array:
    r"""Occlusion-patch: what a patch's removal costs, given to each of its entries,
    :math:`a_i = f(x) - f(x_{\setminus p}, b_p)` for i in p; ``assignment`` is the patch of every entry, int ``[n]``.

    Reference:
        Zeiler & Fergus, ECCV 2014, arXiv:1311.2901.
    """
    if assignment.shape != sample.shape:
        raise ValueError(f"assignment: expected the sample's shape {sample.shape}, got {assignment.shape}")
    is_gone = np.arange(num_players_of(assignment))[:, None] == assignment[None]
    occluded = jnp.where(jnp.asarray(is_gone), baseline[None], sample[None])
    return (function(sample) - jax.vmap(function)(occluded))[assignment]


def prediction_difference(function: Callable[[Array], Array], sample: Array, backgrounds: Array) -> Array:
    r"""Prediction difference, :math:`a_i = f(x) - E_b f(x_{\setminus i}, b_i)`.

    Reference:
        Robnik-Šikonja & Kononenko, IEEE TKDE 20, 589 (2008); Zintgraf et al., ICLR 2017, arXiv:1702.04595, who draw
        the backgrounds from the conditional distribution.
    """
    return jnp.mean(jax.vmap(lambda baseline: occlusion(function, sample, baseline))(backgrounds), axis=0)


def check_coalitions(num_inputs: int, num_outputs: int, dtype: np.dtype, max_bytes: int) -> None:
    """Raise ValueError unless inputs and outputs of a layer in all coalitions fit the memory."""
    # Each coalition: its mask and its inputs; outputs before and after the activation.
    itemsize = num_inputs * (1 + 2 * dtype.itemsize) + 2 * num_outputs * dtype.itemsize
    check_table(num_inputs, itemsize=itemsize, max_bytes=max_bytes, name="inputs")


def shapley(function: Callable[[Array], Array], sample: Array, baseline: Array, *, max_bytes: int = MAX_BYTES) -> Array:
    r"""Shapley values of the inputs, :math:`a_i = \sum_{S \not\ni i} \frac{|S|!(n-|S|-1)!}{n!} [v(S \cup i) - v(S)]`.

    For patches, tokens or sampled coalitions there is `interactions.masked_game` with `interactions.shapley_values`.

    Args:
        max_bytes: for the inputs of all coalitions; what the function needs in between comes on top.

    Example:
        >>> shapley(lambda x: x[0] * x[1] ** 2, jnp.ones(2), jnp.zeros(2)).tolist()
        [0.5, 0.5]

    Reference:
        Shapley, Contributions to the Theory of Games II, 307 (1953); Lundberg & Lee, NIPS 2017, arXiv:1705.07874.
    """
    check_coalitions(sample.shape[0], 1, sample.dtype, max_bytes)
    return shapley_values(jax.vmap(function)(jnp.where(all_bits(sample.shape[0]), sample[None], baseline[None])))
