"""Attributions by gradients, as their authors define them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import check_count


class GradCam(NamedTuple):
    """Importance of the positions of a feature map."""

    heat_map: Array  # [rows, columns], the positive part of the scores, as published
    scores: Array  # [rows, columns], before the ReLU
    channel_weights: Array  # [channels]


def gradient_times_input(function: Callable[[Array], Array], sample: Array, baseline: Array | None = None) -> Array:
    r"""Gradient × Input, :math:`a_i = (x_i - b_i)\, \partial f(x)/\partial x_i`.

    The baseline is zero as published.

    Example:
        >>> gradient_times_input(lambda x: x[0] * x[1], jnp.array([2.0, 3.0])).tolist()
        [6.0, 6.0]

    Reference:
        Shrikumar, Greenside, Shcherbina & Kundaje, arXiv:1605.01713 (2016).
    """
    difference = sample if baseline is None else sample - baseline
    return difference * jax.grad(function)(sample)


def integrated_gradients(
    function: Callable[[Array], Array], sample: Array, baseline: Array, *, num_nodes: int = 32
) -> Array:
    r"""Integrated gradients, :math:`a_i = (x_i - b_i) \int_0^1 \partial_i f(b + t(x - b))\, dt`.

    A Gauss-Legendre rule of ``num_nodes`` is exact on polynomials of degree up to twice as many.

    Raises:
        ValueError: no nodes.

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

    Raises:
        ValueError: no nodes.

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

    Raises:
        ValueError: features of another number of axes.

    Reference:
        Selvaraju et al., ICCV 2017, arXiv:1610.02391.
    """
    if features.ndim != 3:
        raise ValueError(f"features: expected [rows, columns, channels], got shape {features.shape}")
    weights = jnp.mean(jax.grad(head)(features), axis=(0, 1))
    scores = features @ weights
    return GradCam(jax.nn.relu(scores), scores, weights)
