r"""What a density descends along when it learns a target :math:`p(x) = e^{-S(x)}/Z`, as `jaxrg.training.GradientFn`.

An action is a function of one configuration, such as ``model.action``, or ``model.hamiltonian`` for spins. The metric
``"loss"`` of what draws from the density itself is the variational free energy

.. math:: F = \mathrm{E}_q[\ln q(x) + S(x)] = \mathrm{KL}(q \,\|\, p) - \ln Z \ge -\ln Z,

whatever its gradient is estimated from. Gradients are without bias: their mean is that of F, or of the forward KL.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Density, DensityLike, PyTree
from jaxrg.checks import as_count, as_floating, as_parameter, check_function, kind_of
from jaxrg.closures import as_functions, as_partial

Action: TypeAlias = Callable[[PyTree], Array]
"""``S = action(configuration)``: minus the logarithm of the target at one configuration, up to a constant."""

Gradients: TypeAlias = tuple[PyTree, PyTree, PyTree]


def _made(fn: Callable, density: Density | DensityLike, action: Action | None, num_samples: int | None) -> Partial:
    density = as_functions("density", density, Density)
    if action is None:
        return Partial(fn, density)
    check_function("action", action, of="one configuration")
    count = as_count("num_samples", num_samples, minimum=2)
    return Partial(fn, density, as_partial(action), _Count(count))


@jax.tree_util.register_static
class _Count(int):
    """A static number of samples."""


def _metrics(log_weights: Array) -> dict[str, Array]:
    """Of ln w = -S - ln q: F, and the spread of the weights, zero for the target itself."""
    return {"loss": -jnp.mean(log_weights), "log_weight_variance": jnp.var(log_weights, ddof=1)}


def _differentiated(loss_fn: Callable, params: PyTree, aux: PyTree) -> Gradients:
    (_, log_weights), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return gradients, aux, _metrics(jax.lax.stop_gradient(log_weights))


def reverse_kl(density: Density | DensityLike, action: Action, num_samples: int) -> Partial:
    r"""Gradient of F through draws that depend on the parameters, plainly.

    .. math:: \nabla_\theta \frac1n\sum_i \left[\ln q_\theta(x_\theta(z_i)) + S(x_\theta(z_i))\right]

    Even where q = p, this gradient has the variance of the score :math:`\nabla_\theta \ln q`. See `path_gradient`.

    Args:
        density: with draws that are differentiable by its parameters, as those of `jaxrg.flows.density`; for spins
            see `log_variance`.
        action: of one configuration.
        num_samples: draws of a step, at least 2.

    Returns:
        A `GradientFn` for `jaxrg.training.fit`, with ``data`` None and the metrics ``loss``, F, and
        ``log_weight_variance``.

    Raises:
        ValueError: no density, no function, or fewer than two draws.

    Example:
        >>> from jaxrg.flows.priors import gaussian
        >>> prior = gaussian((4,), is_learned=True)
        >>> gradient_fn = reverse_kl(prior, lambda x: jnp.sum(x**2) / 2, 64)
        >>> gradients, aux, metrics = gradient_fn(jax.random.key(0), prior.init(jax.random.key(1)), None, None)
        >>> round(float(metrics["loss"]), 4)  # q is p: -ln Z of every draw
        -3.6758
    """
    return _made(_reverse_kl, density, action, num_samples)


def _reverse_kl(density: Density, action: Action, count: _Count, key: Array, params: PyTree, aux: PyTree, _: PyTree):
    def loss_fn(params: PyTree) -> tuple[Array, Array]:
        draws, log_prob = density.sample(key, params, int(count))
        log_weights = -_actions(action, draws) - log_prob
        return -jnp.mean(log_weights), log_weights

    return _differentiated(loss_fn, params, aux)


def path_gradient(density: Density | DensityLike, action: Action, num_samples: int) -> Partial:
    r"""Gradient of F along the draws alone, without the score, whose mean is zero ("sticking the landing").

    .. math:: \frac1n\sum_i \nabla_x\left[\ln q_{\theta'}(x) + S(x)\right]_{\theta' = \theta} \cdot
        \nabla_\theta x_\theta(z_i)

    Without variance where q = p, so it pays once the density is near its target. Each draw goes once more through the
    inverse. Arguments and result are those of `reverse_kl`.

    Example:
        >>> from jaxrg.flows.priors import gaussian
        >>> prior = gaussian((4,), is_learned=True)
        >>> gradient_fn = path_gradient(prior, lambda x: jnp.sum(x**2) / 2, 64)
        >>> (gradient,), aux, metrics = gradient_fn(jax.random.key(0), prior.init(jax.random.key(1)), None, None)
        >>> bool(jnp.all(gradient == 0))  # as q is p
        True

    Reference:
        Roeder, Wu & Duvenaud, NeurIPS (2017); Vaitl, Nicoli, Nakajima & Kessel, ICML (2022).
    """
    return _made(_path_gradient, density, action, num_samples)


def _path_gradient(density: Density, action: Action, count: _Count, key: Array, params: PyTree, aux: PyTree, _: PyTree):
    def loss_fn(params: PyTree) -> tuple[Array, Array]:
        draws, _ = density.sample(key, params, int(count))
        log_weights = -_actions(action, draws) - density.log_prob(jax.lax.stop_gradient(params), draws)
        return -jnp.mean(log_weights), log_weights

    return _differentiated(loss_fn, params, aux)


def log_variance(density: Density | DensityLike, action: Action, num_samples: int) -> Partial:
    r"""Gradient of F from the score of fixed draws, for densities of spins and wherever draws have no derivative.

    .. math:: \nabla_\theta\, \tfrac12 \mathrm{Var}_i\left[\ln q_\theta(x_i) + S(x_i)\right] =
        \frac{1}{n-1}\sum_i (f_i - \bar f)\, \nabla_\theta \ln q_\theta(x_i), \qquad f_i = \ln q(x_i) + S(x_i)

    Half the variance of the log-weights (VarGrad) has the gradient of REINFORCE with the mean of the other draws for
    its baseline, which is without bias; it vanishes with all its variance where q = p. The density is only asked for
    draws and ``log_prob``. Arguments and result are those of `reverse_kl`.

    Reference:
        Richter, Boustati, Nüsken, Ruiz & Akyildiz, NeurIPS (2020); Kool, van Hoof & Welling (2019).
    """
    return _made(_log_variance, density, action, num_samples)


def _log_variance(density: Density, action: Action, count: _Count, key: Array, params: PyTree, aux: PyTree, _: PyTree):
    # The draws are made outside the derivative: a density may refuse one that would pass through them.
    draws, _ = density.sample(key, params, int(count))
    energies = _actions(action, draws)

    def loss_fn(params: PyTree) -> tuple[Array, Array]:
        log_weights = -energies - density.log_prob(params, draws)
        return jnp.var(log_weights, ddof=1) / 2, log_weights

    return _differentiated(loss_fn, params, aux)


def forward_kl(density: Density | DensityLike) -> Partial:
    r"""Gradient of the cross entropy of samples of the target: maximum likelihood, which forgets no phase of it.

    .. math:: -\nabla_\theta \frac1n\sum_i w_i \ln q_\theta(x_i) \to \nabla_\theta\, \mathrm{KL}(p \,\|\, q_\theta)

    Args:
        density: any; only its ``log_prob`` is used.

    Returns:
        A `GradientFn` for `jaxrg.training.fit` with samples ``[num_samples, *shape]`` as data, perhaps with weights;
        its metric ``loss`` is the cross entropy.

    Raises:
        ValueError: no density.

    Example:
        >>> from jaxrg.flows.priors import gaussian
        >>> prior = gaussian((1,), is_learned=True)
        >>> gradients, aux, metrics = forward_kl(prior)(jax.random.key(0), (jnp.zeros(1),), None, jnp.zeros((3, 1)))
        >>> gradients[0].tolist()  # narrower!
        [1.0]
    """
    return _made(_forward_kl, density, None, None)


def _forward_kl(density: Density, key: Array, params: PyTree, aux: PyTree, batch: PyTree) -> Gradients:
    if batch is None:
        raise ValueError("data: expected samples of the target for the forward KL, got None")
    samples, weights = batch if _has_weights(batch) else (batch, None)

    def loss_fn(params: PyTree) -> Array:
        log_prob = density.log_prob(params, samples)
        return -jnp.mean(log_prob if weights is None else weights.astype(log_prob.dtype) * log_prob)

    loss, gradients = jax.value_and_grad(loss_fn)(params)
    return gradients, aux, {"loss": loss}


def _has_weights(batch: PyTree) -> bool:
    """Whether `fit` gave ``(samples, weights)``: a plain pair whose second member is one number a sample."""
    return type(batch) is tuple and len(batch) == 2 and getattr(batch[1], "ndim", 0) == 1


class Annealing(NamedTuple):
    """What `annealed` and others that count steps carry as ``aux``; ``Annealing()`` is the start."""

    step: Array | int = 0
    aux: PyTree = None  # of the gradient inside


def annealed(objective: Callable[[Array], Callable], schedule: Callable[[Array], Array]) -> Partial:
    """A gradient whose target changes with the number of steps taken, which ``aux`` counts: nothing compiles anew.

    Args:
        objective: ``gradient_fn = objective(value)`` for a value of the schedule, such as a coupling.
        schedule: ``value = schedule(step)``, as those of optax.

    Returns:
        A `GradientFn` whose ``aux`` is `Annealing`, given to `jaxrg.training.fit` as ``aux=Annealing()``; its metrics
        are those of the objective with the ``value`` besides.

    Raises:
        ValueError: arguments that are no functions, or an ``aux`` of another kind.

    Example:
        >>> import optax
        >>> from jaxrg.flows.priors import gaussian
        >>> prior, schedule = gaussian((1,), is_learned=True), optax.linear_schedule(0.5, 1.0, 100)
        >>> gradient_fn = annealed(lambda beta: reverse_kl(prior, lambda x: beta * jnp.sum(x**2), 8), schedule)
        >>> gradients, aux, metrics = gradient_fn(jax.random.key(0), (jnp.zeros(1),), Annealing(50), None)
        >>> float(metrics["value"]), int(aux.step)
        (0.75, 51)
    """
    check_function("objective", objective, of="a value of the schedule")
    check_function("schedule", schedule, of="the step")
    return Partial(_annealed, as_partial(objective), as_partial(schedule))


def _annealed(objective: Callable, schedule: Callable, key: Array, params: PyTree, aux: Any, batch: PyTree):
    if not isinstance(aux, Annealing):
        raise ValueError(f"aux: expected Annealing(), got {kind_of(aux)}")
    step = jnp.asarray(aux.step)
    # Schedules of optax promote an integer step by themselves.
    with jax.numpy_dtype_promotion("standard"):
        value = as_floating("schedule", schedule(step))
    gradients, inner, metrics = objective(value)(key, params, aux.aux, batch)
    metrics = metrics if isinstance(metrics, dict) else {"metrics": metrics}
    return gradients, Annealing(step + 1, inner), metrics | {"value": value}


def mixture(objectives: Sequence[Callable], weights: Any) -> Partial:
    r"""A weighted sum of gradients, as of a reverse and a forward KL: the one is sharp, the other forgets no phase.

    .. math:: \sum_k w_k \nabla L_k

    Args:
        objectives: `GradientFn` each; all get the same batch, and keys of their own.
        weights: one number each.

    Returns:
        A `GradientFn`; its ``aux`` is a tuple, one for each objective, or None if all have none. The metric ``loss``
        is the weighted sum, and ``losses`` holds all of them.

    Raises:
        ValueError: no objectives, another number of weights, or metrics without a ``loss``.

    Example:
        >>> from jaxrg.flows.priors import gaussian
        >>> prior = gaussian((1,), is_learned=True)
        >>> both = mixture([reverse_kl(prior, lambda x: jnp.sum(x**2) / 2, 8), forward_kl(prior)], [0.5, 0.5])
        >>> gradients, aux, metrics = both(jax.random.key(0), (jnp.zeros(1),), None, jnp.ones((4, 1)))
        >>> metrics["losses"].shape
        (2,)
    """
    if not isinstance(objectives, Sequence) or not objectives:
        raise ValueError(f"objectives: expected gradient functions, one or more, got {kind_of(objectives)}")
    for objective in objectives:
        check_function("objectives", objective, of="(key, params, aux, batch)")
    shares = as_parameter("weights", weights)
    if np.shape(shares) != (len(objectives),):
        raise ValueError(f"weights: expected one for each of the {len(objectives)} objectives, got {kind_of(weights)}")
    return Partial(_mixture, tuple(map(as_partial, objectives)), shares)


def _mixture(objectives: tuple, weights: Array, key: Array, params: PyTree, aux: Any, batch: PyTree) -> Gradients:
    carried = (None,) * len(objectives) if aux is None else aux
    if not isinstance(carried, tuple) or len(carried) != len(objectives):
        raise ValueError(f"aux: expected a tuple of {len(objectives)}, one for each objective, got {kind_of(aux)}")
    keys = jax.random.split(key, len(objectives))
    found = [fn(key, params, own, batch) for fn, key, own in zip(objectives, keys, carried, strict=True)]
    if not all(isinstance(metrics, dict) and "loss" in metrics for _, _, metrics in found):
        raise ValueError("objectives: expected metrics with a loss from each, got others")

    def weighted(*leaves: Array) -> Array:
        return sum(weight.astype(leaf.dtype) * leaf for weight, leaf in zip(weights, leaves, strict=True))  # type: ignore

    gradients = jax.tree.map(weighted, *(gradients for gradients, _, _ in found))
    losses = jnp.stack([metrics["loss"] for _, _, metrics in found])
    after = tuple(own for _, own, _ in found)
    is_empty = aux is None and not jax.tree.leaves(after)
    return gradients, None if is_empty else after, {"loss": weighted(*losses), "losses": losses}


def _actions(action: Action, draws: PyTree) -> Array:
    """``[num_samples]`` S of every draw."""
    values = jax.vmap(action)(draws)
    if not hasattr(values, "ndim") or values.ndim != 1:
        raise ValueError(f"action: expected one number of one configuration, got {kind_of(values)} of many")
    return as_floating("action", values)
