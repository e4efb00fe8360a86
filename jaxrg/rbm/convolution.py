"""Machines that share weights: translation-invariant ones, and the gradient of whatever a machine is built from."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_floating_alike, as_sides, check_function, check_shape, kind_of
from jaxrg.closures import as_partial
from jaxrg.rbm.energy import RBM
from jaxrg.training import GradientFn


class Filters(NamedTuple):
    """What a translation-invariant machine of spins shares between sites."""

    weights: Array  # [num_filters, *filter_shape]
    visible_bias: Array  # [] one for all sites
    hidden_bias: Array  # [num_filters]


def convolutional(filters: Filters, shape: Sequence[int], *, stride: int = 1) -> RBM:
    r"""A translation-invariant machine of spins on a periodic lattice.

    .. math:: E(v, h) = -c \sum_x v_x - \sum_{ky} b_k h_{ky} - \sum_{kyd} h_{ky}\, w_{kd}\, v_{sy + d}

    Every filter has a hidden unit at each site, or with a stride s at every s-th one of each axis: with the filter as
    wide as the stride, one block spin a block, all with the same rule. What a machine can do this one can; train it
    `through` this function.

    Args:
        filters: weights, and the biases of all sites and of each filter.
        shape: sides of the lattice; sites are the visible units in row-major order.
        stride: sites between hidden units; it divides every side.

    Returns:
        A machine of ``num_filters`` times ``(side / stride)`` a side hidden units, those of a filter together in
        row-major order. Its weights are dense: ``num_sites * num_hidden`` numbers.

    Raises:
        ValueError: filters of another dimension than the lattice, or larger, biases that do not fit, or a stride that
            does not divide the sides.

    Example:
        >>> filters = Filters(jnp.array([[1.0, 2.0]]), jnp.zeros(()), jnp.zeros(1))
        >>> convolutional(filters, (4,), stride=2).weights.T.tolist()
        [[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 2.0]]

    Reference:
        Lee, Grosse, Ranganath & Ng, ICML (2009).
    """
    if not isinstance(filters, Filters):
        raise ValueError(f"filters: expected Filters of weights, visible_bias and hidden_bias, got {kind_of(filters)}")
    filters = Filters(*as_floating_alike(**filters._asdict()))
    shape, stride = as_sides("shape", shape), as_count("stride", stride)
    widths = filters.weights.shape[1:]
    if (
        len(widths) != len(shape)
        or not shape
        or not filters.weights.size
        or any(w > side for w, side in zip(widths, shape, strict=True))
    ):
        raise ValueError(f"filters: expected weights [num_filters, *sides] inside {shape}, got {filters.weights.shape}")
    if any(side % stride for side in shape):
        raise ValueError(f"stride: expected a divisor of the sides {shape}, got {stride}")
    check_shape("visible_bias", filters.visible_bias, ())
    check_shape("hidden_bias", filters.hidden_bias, filters.weights.shape[:1])
    return _convolutional(filters, shape, stride)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _convolutional(filters: Filters, shape: tuple[int, ...], stride: int) -> RBM:
    num_filters, *widths = filters.weights.shape
    sites = np.arange(np.prod(shape)).reshape(shape)
    corners = sites[tuple(slice(None, None, stride) for _ in shape)].ravel()
    # The site under each entry of a filter, for each place of the filter.
    offsets = list(itertools.product(*map(range, widths)))
    moved = [np.roll(sites, [-step for step in offset], range(len(shape))).ravel()[corners] for offset in offsets]
    place = np.arange(len(corners))[None, :]
    weights = jnp.zeros((num_filters, sites.size, len(corners)), filters.weights.dtype)
    of_filters = filters.weights.reshape(num_filters, len(offsets), 1)
    of_filters = jnp.broadcast_to(of_filters, (num_filters, len(offsets), len(corners)))
    weights = weights.at[:, np.stack(moved), place].add(of_filters)
    return RBM(
        jnp.moveaxis(weights, 0, 1).reshape(sites.size, -1),
        jnp.broadcast_to(filters.visible_bias, (sites.size,)),
        jnp.repeat(filters.hidden_bias, len(corners)),
    )


def through(gradient_fn: GradientFn, build: Callable[[PyTree], RBM]) -> GradientFn:
    r"""The gradient in the parameters that a machine is built from, by the chain rule.

    .. math:: \frac{\partial}{\partial\theta} = \sum_k \frac{\partial \lambda_k}{\partial \theta}
        \frac{\partial}{\partial\lambda_k}, \qquad \lambda = \mathrm{build}(\theta)

    So filters are shared (`convolutional`), biases are kept at zero for the ±1 symmetry, layers are tied.

    Args:
        gradient_fn: of machines, such as `contrastive_divergence_gradient`.
        build: ``machine = build(params)``, differentiable, such as
            ``functools.partial(rbm.convolutional, shape=(8, 8))``.

    Returns:
        A `jaxrg.training.GradientFn` of ``params``.

    Raises:
        ValueError: arguments that are no functions.

    Example:
        >>> from jaxrg.rbm import likelihood_gradient
        >>> def without_biases(weights):
        ...     return RBM(weights, jnp.zeros(2), jnp.zeros(1))
        >>> gradient_fn = through(likelihood_gradient, without_biases)
        >>> gradient, *_ = gradient_fn(jax.random.key(0), jnp.zeros((2, 1)), None, jnp.ones((3, 2)))
        >>> gradient.shape
        (2, 1)
    """
    check_function("gradient_fn", gradient_fn, of="(key, machine, aux, batch)")
    check_function("build", build, of="parameters")
    return Partial(_through, as_partial(gradient_fn), as_partial(build))


def _through(gradient_fn: Callable, build: Callable, key: Array, params: PyTree, aux: Any, batch: Any):
    machine, back = jax.vjp(build, params)
    gradients, aux, metrics = gradient_fn(key, machine, aux, batch)
    return back(gradients)[0], aux, metrics
