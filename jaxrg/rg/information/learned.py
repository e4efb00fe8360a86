r"""Filters learned from samples of blocks and their environments, with estimates on samples that were held out.

The states of a few coarse spins are summed exactly, so that a gradient with respect to the filter has no noise but that
of the batch: no reparametrisation, no temperature to anneal.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial

from jaxrg import nets
from jaxrg.base import Progress, PyTree
from jaxrg.checks import as_array, as_count, as_floating, check_function, check_key, check_number, kind_of
from jaxrg.closures import as_partial
from jaxrg.rg.information.bounds import conditional_bound
from jaxrg.rg.information.optimal import on_sphere
from jaxrg.rg.information.tables import MAX_HIDDEN, hidden_probabilities
from jaxrg.training import fit, gradient_of

NUM_PARTS = 32  # of the samples held out, whose scatter is the error
WIDTHS = (64, 64)  # of the default network
RATE = 1e-2  # of the default optimiser, falling to zero along a cosine


class LearnedFilter(NamedTuple):
    """A filter learned from samples, and what it keeps of the environment.

    Attributes:
        weights: ``[num_features, num_hidden]`` Λ, each unit's of the given norm and of either sign.
        information: scalar, the bound on samples held out, in nats.
        error: its standard error, from the scatter of 32 consecutive parts of these samples.
        cap: scalar, what no batch of the contrastive bounds exceeds: the logarithm of the number of states of H, or of
            the samples of a part where that is less.
        training: ``[num_epochs]`` the bound on the samples trained on, mean of each epoch. What it ends above
            ``information`` is learned by heart.
        params: of the network of the scores.
    """

    weights: Array
    information: Array
    error: Array
    cap: Array
    training: Array
    params: PyTree


def learn_filter(
    key: Array,
    visible: Any,
    environment: Any,
    num_hidden: int,
    *,
    norm: Any = 2.0,
    start: Any = None,
    net: nets.Net | None = None,
    bound: Callable[[Array, Array], Array] = conditional_bound,
    optimizer: optax.GradientTransformation | None = None,
    num_epochs: int = 10,
    batch_size: int = 500,
    num_held_out: int | None = None,
    progress: Progress | bool | None = None,
) -> LearnedFilter:
    r"""Learn the filter of spins ±1 that keeps the most information, together with a network that shows it.

    .. math:: \max_{\Lambda, \theta}\; \mathrm{bound}\bigl(s_h(e_j; \theta),\; p(h | v_j; \Lambda) / n\bigr), \qquad
        p(h | v) \propto e^{\sum_j h_j \Lambda_j \cdot v}

    Args:
        key: typed key of the starts and of the order of the samples.
        visible: ``[num_samples, ...]`` blocks, or any features of them, flattened.
        environment: ``[num_samples, ...]`` what the network is given. Samples in the order of their chain: the last
            ones are held out.
        num_hidden: hidden units, at most 8.
        norm: of the weights of each unit, see `optimal_filter`.
        start: ``[num_features, num_hidden]`` Λ to start from, as one learned at a smaller norm, where gradients are
            larger; random by default.
        net: from environments to ``2**num_hidden`` scores; by default ``nets.mlp((64, 64, 2**num_hidden))``.
        bound: `conditional_bound`, `info_nce`, `smile_bound`, or another function of scores and weights of pairs.
        optimizer: of optax; by default Adam at 0.01, falling to zero along a cosine.
        num_epochs: of `jaxrg.training.fit`.
        batch_size: samples of a step.
        num_held_out: samples for the estimate; by default a quarter.
        progress: as in `jaxrg.training.fit`.

    Raises:
        ValueError: arrays that do not fit together, counts out of range, or what `jaxrg.training.fit` refuses.
        NonFiniteError: a FloatingPointError, as from `jaxrg.training.fit`.

    Example:
        >>> key, spins = jax.random.split(jax.random.key(0))
        >>> blocks = jax.random.rademacher(spins, (4000, 2), jnp.int8)
        >>> found = learn_filter(key, blocks, blocks[:, :1], 1, norm=4.0, batch_size=100)  # it knows the first spin
        >>> bool(jnp.abs(found.weights[0, 0]) > 3.9), bool(jnp.abs(found.information - 0.69) < 0.03)
        (True, True)

    Reference:
        Gökmen, Ringel, Huber & Koch-Janusz, Phys. Rev. Lett. 127, 240603 (2021), with `info_nce`.
    """
    check_key("key", key)
    blocks, around = as_array("visible", visible), as_array("environment", environment)
    for name, array in (("visible", blocks), ("environment", around)):
        if array.ndim < 2 or not array.size or len(array) != len(blocks):
            raise ValueError(f"{name}: expected [num_samples, ...] as many samples of both, got shape {array.shape}")
    count = as_count("num_hidden", num_hidden)
    if count > MAX_HIDDEN:
        raise ValueError(f"num_hidden: expected at most {MAX_HIDDEN}, got {count}")
    check_number("norm", norm, above=0)
    check_function("bound", bound, of="scores and weights of pairs")
    if net is not None and not (hasattr(net, "init") and hasattr(net, "apply")):
        raise ValueError(f"net: expected a network of jaxrg.nets, got {kind_of(net)}")
    size, epochs = as_count("batch_size", batch_size, minimum=2), as_count("num_epochs", num_epochs)
    held = len(blocks) // 4 if num_held_out is None else as_count("num_held_out", num_held_out)
    part = held // NUM_PARTS
    num_trained = len(blocks) - held
    if part < 2 or num_trained < size:
        raise ValueError(
            f"num_held_out: expected at least {2 * NUM_PARTS}, and a batch of {size} beside, of {len(blocks)} samples, "
            f"got {held}"
        )
    blocks = blocks.reshape(len(blocks), -1)
    network = nets.mlp((*WIDTHS, 2**count)) if net is None else net
    filter_key, net_key, fit_key = jax.random.split(key, 3)
    begin = jax.random.normal(filter_key, (blocks.shape[1], count)) if start is None else as_floating("start", start)
    if begin.shape != (blocks.shape[1], count):
        raise ValueError(f"start: expected weights of shape {(blocks.shape[1], count)}, got {begin.shape}")
    params = {
        "critic": network.init(net_key, around[:2]),
        "filter": on_sphere(begin, jnp.ones((), begin.dtype)),
    }
    objective = Partial(_objective, as_partial(network.apply), as_partial(bound), as_floating("norm", norm))
    run = fit(
        fit_key,
        gradient_of(Partial(_loss, objective)),
        _optimizer(epochs * (num_trained // size)) if optimizer is None else optimizer,
        params,
        (blocks[:num_trained], around[:num_trained]),
        num_epochs=epochs,
        batch_size=size,
        progress=progress,
    )
    rest = [array[num_trained : num_trained + NUM_PARTS * part] for array in (blocks, around)]
    values = _values(objective, run.params, tuple(array.reshape(NUM_PARTS, part, *array.shape[1:]) for array in rest))
    weights = on_sphere(run.params["filter"], as_floating("norm", norm).astype(begin.dtype))
    return LearnedFilter(
        weights,
        jnp.mean(values),
        jnp.std(values) / np.sqrt(NUM_PARTS - 1).astype(values.dtype),
        jnp.asarray(min(count * math.log(2), math.log(part)), values.dtype),
        -run.metrics["loss"],
        run.params["critic"],
    )


def _objective(apply: Partial, bound: Partial, norm: Array, params: PyTree, batch: tuple[Array, Array]) -> Array:
    visible, environment = (as_floating("batch", array) for array in batch)
    weights = params["filter"]
    coarse = hidden_probabilities(on_sphere(weights, norm.astype(weights.dtype)), visible.astype(weights.dtype))
    scores = apply(params["critic"], environment)
    if scores.shape != coarse.shape:
        raise ValueError(f"net: expected scores of shape {coarse.shape}, got {scores.shape}")
    return bound(scores.T, coarse.T.astype(scores.dtype) / len(coarse))


def _loss(objective: Partial, key: Array, params: PyTree, batch: tuple[Array, Array]) -> Array:
    return -objective(params, batch)


@jax.jit
def _values(objective: Partial, params: PyTree, parts: tuple[Array, Array]) -> Array:
    return jax.lax.map(functools.partial(objective, params), parts)


@functools.lru_cache(maxsize=64)
def _optimizer(num_steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(RATE, num_steps))
