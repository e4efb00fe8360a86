"""Gradients in the coordinates of centred or standardised units, in which states may be numbered in any way."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.checks import check_function, check_shape
from jaxrg.closures import as_partial
from jaxrg.rbm.energy import RBM, as_machine, as_units, as_visible, check_units, field_on_hidden, visible_features
from jaxrg.rbm.units.spins import SPINS, Units
from jaxrg.training import GradientFn

LEAST_VARIANCE = (
    0.01  # of a unit, where it is standardised: one that hardly changes learns at most a hundred times faster
)


class _Statistics(NamedTuple):
    """Of visible features over all data."""

    mean: Array  # [num_visible]
    variance: Array  # [num_visible]


def centred(gradient_fn: GradientFn, data: Any, *, units: Units = SPINS) -> GradientFn:
    r"""The gradient as plain descent in centred units would have it.

    With the means μ of the visible features over all data and λ of the hidden ones over the batch, E is written in
    :math:`(\phi(v) - \mu)^T W (\phi(h) - \lambda)`; a step there is, in the parameters of the machine,

    .. math:: \tilde g_W = g_W - \mu g_b^T - g_c \lambda^T, \qquad \tilde g_c = g_c - \tilde g_W \lambda, \qquad
        \tilde g_b = g_b - \tilde g_W^T \mu

    A positive definite matrix times the gradient: it vanishes where that does. Machines of 0/1 units then learn as
    those of spins do up to a factor, and flipping units changes nothing.

    Args:
        gradient_fn: of machines, with or without ``aux``; its batches are samples, without weights.
        data: ``[num_samples, num_visible]`` whose means are taken.
        units: the visible units.

    Returns:
        A `jaxrg.training.GradientFn` with the ``aux`` and the metrics of the one given.

    Raises:
        ValueError: data that are no samples of such units.

    Example:
        >>> from jaxrg import rbm
        >>> data = jnp.array([[1, 1], [1, -1], [1, 1], [1, 1]])
        >>> gradient_fn = centred(rbm.contrastive_divergence_gradient(), data)
        >>> gradients, *_ = gradient_fn(jax.random.key(0), rbm.init(jax.random.key(1), 2, 3), None, data)
        >>> gradients.weights.shape
        (2, 3)

    Reference:
        Melchior, Fischer & Wiskott, J. Mach. Learn. Res. 17, 99 (2016); Cho, Raiko & Ilin, ICML (2011).
    """
    return Partial(_centred, *_as_arguments(gradient_fn, data, units))


def standardized(gradient_fn: GradientFn, data: Any, *, units: Units = SPINS) -> GradientFn:
    r"""The gradient as plain descent in units of mean zero and variance one would have it.

    `centred`, with every row of :math:`\tilde g_W` and entry of :math:`\tilde g_c` over the variance of its visible
    feature in the data, and every column and entry of :math:`\tilde g_b` over that of its hidden one, those of a batch.
    Variances count as 0.01 at least, so that a pixel that never changes does no harm.

    Args:
        gradient_fn: as for `centred`.
        data: ``[num_samples, num_visible]`` whose means and variances are taken.
        units: the visible units.

    Returns:
        A `jaxrg.training.GradientFn` with the ``aux`` and the metrics of the one given.

    Raises:
        ValueError: data that are no samples of such units.

    Reference:
        Fernandez-de-Cossio-Diaz, Cocco & Monasson, Phys. Rev. X 13, 021003 (2023), for standardised machines.
    """
    return Partial(_standardized, *_as_arguments(gradient_fn, data, units))


def _as_arguments(gradient_fn: Any, data: Any, units: Units) -> tuple[Partial, _Statistics]:
    check_function("gradient_fn", gradient_fn, of="(key, machine, aux, batch)")
    check_units("units", units)
    data = as_units("data", data, (None, None), units)
    return as_partial(gradient_fn), _statistics(data, units)


@jax.jit
def _statistics(data: Array, units: Units) -> _Statistics:
    features = units.features(data, jnp.result_type(float))
    return _Statistics(jnp.mean(features, axis=0), jnp.var(features, axis=0))


def _hidden_statistics(statistics: _Statistics, machine: RBM, batch: Array) -> tuple[Array, Array]:
    """Mean and variance of every hidden feature over the batch, those of its conditional law included."""
    machine = as_machine(machine)
    check_shape("data, the features of one sample", statistics.mean, machine.visible_bias.shape)
    batch = as_visible("batch", batch, machine, is_batch=True)
    fields = jax.vmap(field_on_hidden, (None, 0))(machine, visible_features(machine, batch))
    means = machine.hidden_units.mean(fields)
    mean = jnp.mean(means, axis=0)
    variance = jnp.mean(machine.hidden_units.variance(fields), axis=0) + jnp.var(means, axis=0)
    return mean, variance


def _moved(gradients: RBM, visible_mean: Array, hidden_mean: Array, of_visible: Array, of_hidden: Array) -> RBM:
    """Centred, with rows and columns multiplied by what is given."""
    of_weights = gradients.weights - visible_mean[:, None] * gradients.hidden_bias[None, :]
    of_weights = of_weights - gradients.visible_bias[:, None] * hidden_mean[None, :]
    of_weights = of_visible[:, None] * of_weights * of_hidden[None, :]
    return gradients._replace(
        weights=of_weights,
        visible_bias=of_visible * gradients.visible_bias - of_weights @ hidden_mean,
        hidden_bias=of_hidden * gradients.hidden_bias - visible_mean @ of_weights,
    )


def _centred(gradient_fn: Callable, statistics: _Statistics, key: Array, machine: RBM, aux: Any, batch: Array):
    gradients, aux, metrics = gradient_fn(key, machine, aux, batch)
    hidden_mean, _ = _hidden_statistics(statistics, machine, batch)
    mean = statistics.mean.astype(hidden_mean.dtype)
    return _moved(gradients, mean, hidden_mean, jnp.ones_like(mean), jnp.ones_like(hidden_mean)), aux, metrics


def _standardized(gradient_fn: Callable, statistics: _Statistics, key: Array, machine: RBM, aux: Any, batch: Array):
    gradients, aux, metrics = gradient_fn(key, machine, aux, batch)
    hidden_mean, hidden_variance = _hidden_statistics(statistics, machine, batch)
    mean, variance = (part.astype(hidden_mean.dtype) for part in statistics)
    scales = (1 / jnp.maximum(part, LEAST_VARIANCE) for part in (variance, hidden_variance))
    return _moved(gradients, mean, hidden_mean, *scales), aux, metrics
