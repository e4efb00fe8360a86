"""Exact answers from a density that is only near its target: weighted draws, and Metropolis chains of its draws."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg import random
from jaxrg.base import Density, DensityLike, Progress, PyTree, Sampler, Status
from jaxrg.checks import as_count, as_floating, check_function, check_key, kind_of
from jaxrg.closures import as_functions, as_partial
from jaxrg.progress import reporting
from jaxrg.samplers.kernels import from_kernel


class IndependenceState(NamedTuple):
    """One configuration."""

    field: PyTree  # [*shape], or spins
    log_weight: Array  # [] -S - ln q of it
    step: Array  # [] uint32, steps taken


class IndependenceInfo(NamedTuple):
    """One proposal."""

    acceptance: Array  # [] float32, probability of acceptance
    is_accepted: Array  # [] bool
    log_weight: Array  # [] of the proposal
    status: Array  # [] uint32 `Status`


class WeightedDraws(NamedTuple):
    """Independent draws of a density, as far as they are kept."""

    log_weights: Array  # [num_samples] -S - ln q
    values: PyTree  # of ``observe``, leaves [num_samples, ...]; None without it


class IndependenceChain(NamedTuple):
    """A chain of accepted draws."""

    indices: Array  # [num_samples] int32: the draw the chain is at after each proposal
    acceptance: Array  # [] share of proposals that were accepted


def _as_source(density: Density | DensityLike, action: Callable) -> tuple[Density, Partial]:
    functions = as_functions("density", density, Density)
    check_function("action", action, of="one configuration")
    return functions, as_partial(action)


def _log_weights(action: Callable, draws: PyTree, log_prob: Array) -> Array:
    energies = jax.vmap(action)(draws)
    if not hasattr(energies, "ndim") or energies.ndim != 1:
        raise ValueError(f"action: expected one number of one configuration, got {kind_of(energies)} of many")
    return -energies.astype(log_prob.dtype) - log_prob


@functools.partial(jax.jit, static_argnames="num_samples")
def _draw(density: Density, action: Callable, params: PyTree, key: Array, *, num_samples: int):
    draws, log_prob = density.sample(key, params, num_samples)
    return draws, _log_weights(action, draws, log_prob)


def independence_metropolis(density: Density | DensityLike, params: PyTree, action: Callable) -> Sampler:
    r"""Independence Metropolis: a draw of the density is proposed at every step, whatever the configuration.

    .. math:: P_{\mathrm{accept}} = \min\left(1, \frac{w(x')}{w(x)}\right), \qquad w = e^{-S}/q

    Exact for any density that is nowhere zero where the target is not; a configuration whose weight is far above the
    mean stays for long. One draw a step: to make a long chain of many, which are drawn at once, take `weighted_draws`
    and `independence_chain`.

    Args:
        density: a `jaxrg.base.Density`, such as a flow with a prior.
        params: of the density; leaves, so that other values do not recompile.
        action: S of one configuration, such as ``model.action``, or ``model.hamiltonian`` for spins.

    Returns:
        A sampler with `IndependenceState` and `IndependenceInfo`, which starts from a draw, or from a given
        configuration. A weight that is NaN or +inf is a failure, in the status.

    Raises:
        ValueError: no density, or an action that is no function.

    Example:
        >>> from jaxrg import samplers
        >>> from jaxrg.base import Density
        >>> def log_prob(params, x):
        ...     return -0.5 * (x[:, 0] ** 2 + jnp.log(2 * jnp.pi))
        >>> def sample(key, params, n):
        ...     x = jax.random.normal(key, (n, 1))
        ...     return x, log_prob(params, x)
        >>> density = Density(lambda key: (), sample, log_prob)
        >>> sampler = independence_metropolis(density, (), lambda x: 0.6 * jnp.sum(x**2))
        >>> run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 100)
        >>> bool(jnp.mean(run.info.acceptance) > 0.8)
        True

    Reference:
        Hastings, Biometrika 57, 97 (1970); Albergo, Kanwar & Shanahan, Phys. Rev. D 100, 034515 (2019).
    """
    source = (*_as_source(density, action), params)
    return from_kernel(Partial(_init, *source), Partial(_step, *source), _measure)


def _init(density: Density, action: Callable, params: PyTree, key: Array, field: PyTree = None) -> IndependenceState:
    check_key("key", key)
    return _start(density, action, params, key, field)


@jax.jit
def _start(density: Density, action: Callable, params: PyTree, key: Array, field: PyTree) -> IndependenceState:
    draws, log_weights = _draw(density, action, params, key, num_samples=1)
    if field is not None:
        wanted, found = jax.tree.structure(draws), jax.tree.structure(field)
        shapes = [jax.tree.map(jnp.shape, tree) for tree in (jax.tree.map(lambda leaf: leaf[0], draws), field)]
        if wanted != found or shapes[0] != shapes[1]:
            raise ValueError(f"field: expected the shape of a draw, {shapes[0]}, got {shapes[1]}")
        draws = jax.tree.map(lambda leaf, given: jnp.asarray(given, leaf.dtype)[None], draws, field)
        log_weights = _log_weights(action, draws, density.log_prob(params, draws))
    return IndependenceState(jax.tree.map(lambda leaf: leaf[0], draws), log_weights[0], jnp.zeros((), jnp.uint32))


def _step(density: Density, action: Callable, params: PyTree, key: Array, state: IndependenceState):
    draw_key, accept_key = jax.random.split(key)
    draws, log_weights = _draw(density, action, params, draw_key, num_samples=1)
    log_weight = log_weights[0]
    is_bad = jnp.isnan(log_weight) | (log_weight == jnp.inf)
    acceptance, accepted = _accepts(accept_key, log_weight, state.log_weight)
    field = jax.tree.map(lambda new, old: jnp.where(accepted, new[0], old), draws, state.field)
    info = IndependenceInfo(acceptance.astype(jnp.float32), accepted, log_weight, Status.NOT_FINITE.when(is_bad))
    return IndependenceState(field, jnp.where(accepted, log_weight, state.log_weight), state.step), info


def _accepts(key: Array, new: Array, old: Array) -> tuple[Array, Array]:
    # From a configuration of weight zero every proposal is a way out; NaN is none.
    change = jnp.where(old == -jnp.inf, 0, new - old)
    acceptance = jnp.where(jnp.isnan(new), 0, jnp.exp(jnp.minimum(change, 0)))
    return acceptance, random.bernoulli(key, jnp.uint32(0), acceptance)


def _measure(fn: Callable, state: IndependenceState) -> PyTree:
    return fn(state.field)


@functools.partial(jax.jit, static_argnames="num_samples")
def _weighted(
    density: Density, action: Callable, observe: Any, params: PyTree, key: Array, number: Array, *, num_samples: int
) -> WeightedDraws:
    batch_key = jax.random.fold_in(key, number)
    draws, log_weights = _draw(density, action, params, batch_key, num_samples=num_samples)
    values = None if observe is None else jax.vmap(observe)(draws)
    return WeightedDraws(log_weights, jax.tree.map(jnp.asarray, values))


def weighted_draws(
    key: Array,
    density: Density | DensityLike,
    params: PyTree,
    action: Callable,
    num_samples: int,
    *,
    batch_size: int = 1024,
    observe: Callable | None = None,
    progress: Progress | bool | None = None,
) -> WeightedDraws:
    """Independent draws of a density with their weights, in batches: configurations are seen and let go.

    Give the log-weights to `jaxrg.stats.importance`, the values to `jaxrg.stats.reweighted`, or both to
    `independence_chain`. Batch number b draws from ``fold_in(key, b)``, so more draws begin with the same.

    Args:
        key: typed key.
        density: a `jaxrg.base.Density`.
        params: of the density.
        action: S of one configuration.
        num_samples: draws in all.
        batch_size: draws of one compiled call; memory grows with it.
        observe: function of one configuration, such as ``model.observables``.
        progress: True for a bar, or ``progress(done, num_samples, "")`` after each batch.

    Returns:
        `WeightedDraws`.

    Raises:
        ValueError: no density, functions that are none, or counts below one.

    Example:
        >>> from jaxrg.base import Density
        >>> def log_prob(params, x):
        ...     return jnp.zeros(x.shape[0])
        >>> uniform = Density(lambda key: (), lambda key, _, n: (jax.random.uniform(key, (n,)), jnp.zeros(n)), log_prob)
        >>> found = weighted_draws(jax.random.key(0), uniform, (), lambda x: -x, 5, batch_size=2, observe=lambda x: x)
        >>> bool(jnp.all(found.log_weights == found.values)), found.values.shape
        (True, (5,))
    """
    check_key("key", key)
    density, action = _as_source(density, action)
    total, size = as_count("num_samples", num_samples), as_count("batch_size", batch_size)
    if observe is not None:
        check_function("observe", observe, of="one configuration")
        observe = as_partial(observe)
    parts, done = [], 0
    with reporting(progress, "drawing") as report:
        while done < total:
            number = np.uint32(len(parts))
            part = _weighted(density, action, observe, params, key, number, num_samples=size)
            # On the host, since cutting and joining would be compiled for every number of draws.
            parts.append(jax.tree.map(lambda leaf, room=total - done: np.asarray(leaf[:room]), jax.device_get(part)))
            done += min(size, total - done)
            report(done, total, "")
    return jax.device_put(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts))


def independence_chain(key: Array, log_weights: Array) -> IndependenceChain:
    """The chain of `independence_metropolis` through draws that have been made: they are accepted or not in turn.

    The values of the chain are ``values[indices]``, and ``values[indices][None]`` is a series for
    `jaxrg.stats.summary`, which tells its autocorrelation time. It starts from the first draw.

    Args:
        key: typed key.
        log_weights: ``[num_samples]`` of independent draws, as in `weighted_draws`.

    Returns:
        `IndependenceChain`.

    Raises:
        ValueError: no typed key, or another shape.

    Example:
        >>> chain = independence_chain(jax.random.key(0), jnp.array([0.0, -jnp.inf, 1.0, 1.0]))
        >>> chain.indices.tolist(), float(chain.acceptance)
        ([0, 0, 2, 3], 0.6666666865348816)
    """
    check_key("key", key)
    array = as_floating("log_weights", log_weights)
    if array.ndim != 1 or array.shape[0] < 2:
        raise ValueError(f"log_weights: expected [num_samples] with at least 2, got shape {array.shape}")
    return _chain(key, array)


@jax.jit
def _chain(key: Array, log_weights: Array) -> IndependenceChain:
    num_samples = log_weights.shape[0]
    # ln u < ln w' - ln w, all numbers drawn at once.
    thresholds = jnp.log(
        jax.random.uniform(key, (num_samples,), log_weights.dtype, minval=jnp.finfo(log_weights.dtype).tiny)
    )

    def step(carry: tuple[Array, Array], drawn: tuple[Array, Array, Array]):
        index, current = carry
        number, new, threshold = drawn
        accepted = (threshold < new - current) | (current == -jnp.inf)
        carry = jnp.where(accepted, number, index), jnp.where(accepted, new, current)
        return carry, (carry[0], accepted)

    numbers = jnp.arange(num_samples, dtype=jnp.int32)
    start = numbers[0], log_weights[0]
    _, (indices, accepted) = jax.lax.scan(step, start, (numbers[1:], log_weights[1:], thresholds[1:]))
    acceptance = jnp.mean(accepted.astype(jnp.float32))
    # A weight that is no number has no chain.
    is_sound = ~jnp.any(jnp.isnan(log_weights) | (log_weights == jnp.inf))
    return IndependenceChain(jnp.concatenate([numbers[:1], indices]), jnp.where(is_sound, acceptance, jnp.nan))
