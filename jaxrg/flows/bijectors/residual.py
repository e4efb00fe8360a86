"""Invertible residual blocks: a contraction is added, and taken away again by iteration."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import register_static

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_count, check_key
from jaxrg.flows.bijectors.conditioners import Conditioner, as_conditioner
from jaxrg.flows.bijectors.jacobians import MAX_FEATURES, estimates, log_det_of_contraction
from jaxrg.flows.bijectors.making import Event, bijector

MAX_ITERATIONS = 1000  # 0.98^1000 is below float32's precision
STEPS = 4  # of the last digit: where an iteration stops
LOST = 1e3  # as many last digits: what counts as not converged


@register_static
@dataclasses.dataclass(frozen=True)
class Block:
    """The event, and how many probes estimate its log-determinant, 0 for the exact one; static."""

    event: Event
    num_probes: int

    @property
    def num_features(self) -> int:
        """Number of entries of an event."""
        return math.prod(self.event.shape)


def residual(event_shape: Sequence[int], contraction: Any) -> Bijector:
    r"""A contraction is added to a small block, :math:`y = x + g(x)`, with the exact log-determinant.

    The inverse iterates :math:`x \leftarrow y - g(x)`; where it does not converge, it gives NaN. Its gradient is that
    of the implicit function, whatever the number of iterations.

    Args:
        event_shape: shape of the block, of at most 64 entries.
        contraction: g of ``[features, *lanes]``, with a Lipschitz constant below one: a `lipschitz_perceptron`, or what
            `affine_coupling` takes, at your own risk.

    Raises:
        ValueError: more than 64 entries (see `stochastic_residual`), or no function.

    Example:
        >>> from jaxrg.flows.bijectors import lipschitz_perceptron
        >>> block = residual((2,), lipschitz_perceptron((8,)))
        >>> block.forward(block.init(jax.random.key(0)), jnp.ones((2, 5)))[1].shape
        (5,)

    Reference:
        Behrmann et al., ICML 2019, arXiv:1811.00995.
    """
    event = Event.of(event_shape)
    static = Block(event, 0)
    if static.num_features > MAX_FEATURES:
        raise ValueError(
            f"event_shape: expected at most {MAX_FEATURES} entries for an exact log-determinant, got {event.shape}; "
            "see stochastic_residual"
        )
    return bijector(_init, _forward, _inverse, static, as_conditioner("contraction", contraction, ()), None)


def stochastic_residual(key: Array, event_shape: Sequence[int], contraction: Any, *, num_probes: int = 1) -> Bijector:
    """As `residual`, for blocks of any size, with the unbiased `log_det_estimate` for a log-determinant.

    The key is an array of the bijector like any other: inside a compiled loss, make the bijector anew with the key of
    the step. Forward and inverse with one key draw the same probes. The variance of what it gives falls with
    ``num_probes``; `log_det_estimate` measures it.

    Raises:
        ValueError: no key, no shape, no function, or no probe.
    """
    check_key("key", key)
    static = Block(Event.of(event_shape), as_count("num_probes", num_probes))
    return bijector(_init, _forward, _inverse, static, as_conditioner("contraction", contraction, ()), key)


def _init(static: Block, net: Conditioner, key_of_probes: Array | None, key: Array) -> PyTree:
    return net.init(key, jnp.zeros(static.num_features, jnp.result_type(float)), static.num_features)


def _forward(static: Block, net: Conditioner, key: Array | None, params: PyTree, values: Array) -> tuple[Array, Array]:
    added, features = _features(static, net, params, values)
    return (features + added(features)).reshape(values.shape), _log_det(static, key, added, features)


def _inverse(static: Block, net: Conditioner, key: Array | None, params: PyTree, values: Array) -> tuple[Array, Array]:
    added, features = _features(static, net, params, values)
    solved = solve_contraction(added, features)
    log_det = jnp.where(jnp.isnan(solved[0]), jnp.nan, -_log_det(static, key, added, solved))
    return solved.reshape(values.shape), log_det


def _features(static: Block, net: Conditioner, params: PyTree, values: Array) -> tuple[Callable, Array]:
    static.event.check(values)
    features = values.reshape(static.num_features, *static.event.lanes(values))
    added = jax.tree_util.Partial(net.apply, params)
    shape = jax.eval_shape(added, features).shape
    if shape != features.shape:
        raise ValueError(f"contraction: expected outputs of shape {features.shape}, got {shape}")
    return added, features


def _log_det(static: Block, key: Array | None, added: Callable, features: Array) -> Array:
    if key is None:
        return log_det_of_contraction(added, features)
    return jnp.mean(estimates(key, added, features, jnp.arange(static.num_probes, dtype=jnp.uint32)), axis=0)


def solve_contraction(added: Callable[[Array], Array], values: Array) -> Array:
    """``[features, *lanes]`` x with x + g(x) = values, NaN in lanes that did not converge; implicit derivatives."""

    def equation(guess: Array) -> Array:
        return guess + added(guess) - values

    solved = jax.lax.custom_root(
        equation, values, lambda fn, guess: _iterate(lambda x: x - fn(x), guess), _solve_linear
    )
    lost = jax.lax.stop_gradient(jnp.max(jnp.abs(equation(solved)), axis=0))
    size = 1 + jax.lax.stop_gradient(jnp.max(jnp.abs(solved), axis=0))
    is_solved = (lost <= LOST * jnp.finfo(values.dtype).eps * size) & jnp.isfinite(size)
    return jnp.where(is_solved[None], solved, jnp.nan)


def _solve_linear(linear: Callable[[Array], Array], right: Array) -> Array:
    """The solution v of v + J v = right by the same iteration, and so for the transposed equation."""

    def solve(product: Callable[[Array], Array], right: Array) -> Array:
        return _iterate(lambda v: right + (v - product(v)), right)

    return jax.lax.custom_linear_solve(linear, right, solve, transpose_solve=solve)


def _iterate(step: Callable[[Array], Array], start: Array) -> Array:
    """The fixed point of a contraction, by plain iteration until no lane moves."""
    tolerance = STEPS * jnp.finfo(start.dtype).eps

    def is_moving(carry: tuple[Array, Array, Array]) -> Array:
        _, change, count = carry
        return (change > tolerance) & (count < MAX_ITERATIONS)

    def advance(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        old, _, count = carry
        new = step(old)
        size = 1 + jnp.max(jnp.abs(new), axis=0)
        return new, jnp.max(jnp.max(jnp.abs(new - old), axis=0) / size, initial=0), count + 1

    infinite = jnp.asarray(jnp.inf, start.dtype)
    return jax.lax.while_loop(is_moving, advance, (start, infinite, jnp.int32(0)))[0]
