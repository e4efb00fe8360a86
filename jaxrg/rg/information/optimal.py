"""The best filter of a joint table, by ascent from several starts."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxrg.checks import as_count, as_floating_alike, check_key, check_number
from jaxrg.rg.information.tables import MAX_HIDDEN, as_features, as_joint, hidden_probabilities, information


class OptimalFilter(NamedTuple):
    """A filter that keeps most of the information.

    Attributes:
        weights: ``[num_features, num_hidden]`` Λ, each unit's of the given norm, its entry furthest from zero positive.
        information: scalar I(H; E) in nats.
        bound: scalar I(V; E).
        starts: ``[num_starts]`` information where the ascent from each start has ended, falling.
        gradient_norm: largest component of the gradient of the best one along the sphere of its norm.
    """

    weights: Array
    information: Array
    bound: Array
    starts: Array
    gradient_norm: Array


def on_sphere(weights: Array, norm: Array) -> Array:
    """Columns of the given norm."""
    return norm * weights / jnp.sqrt(jnp.sum(weights * weights, axis=0, keepdims=True))


def upright(weights: Array) -> Array:
    """Columns whose entry furthest from zero is positive."""
    largest = jnp.take_along_axis(weights, jnp.argmax(jnp.abs(weights), axis=0)[None], axis=0)
    return jnp.where(largest < 0, -weights, weights)


def optimal_filter(
    key: Array,
    joint: Any,
    num_hidden: int,
    *,
    features: Any = None,
    norm: float | Array = 2.0,
    num_starts: int = 8,
    num_steps: int = 100,
) -> OptimalFilter:
    r"""The filter of spins ±1 that keeps the most information of the environment, at a given norm of its weights.

    .. math:: \max_{|\Lambda_j| = R} I(H; E), \qquad p(h | v) \propto e^{\sum_j h_j \Lambda_j \cdot v}

    by limited-memory BFGS from random starts. The information is convex in p(h|v), so that it is greatest without
    noise, for R to infinity; a small R makes the problem smooth, and keeps of a degenerate choice what is symmetric.

    Args:
        key: typed key of the starts.
        joint: ``[visible, environment]`` weights of P(v, e), such as `strip_joint`.
        num_hidden: hidden units, at most 8.
        features: ``[visible, num_features]`` what the filter sees of the block; by default its spins.
        norm: R, of each unit.
        num_starts: random directions to start from.
        num_steps: of the ascent from each.

    Returns:
        The best of all ends. Where ``starts`` agree in a few of them, it is the optimum; where ``gradient_norm`` is not
        small, take more steps.

    Raises:
        ValueError: tables and features that do not fit together, counts out of range, or a norm not above zero.

    Example:
        >>> from jaxrg.rg import information
        >>> table = information.strip_joint(0.4406868, 4, (2, 2), buffer=1)
        >>> found = optimal_filter(jax.random.key(0), table, 1, norm=1.0)  # critical Ising spins: the block spin
        >>> bool(jnp.all(jnp.abs(found.weights - 0.5) < 0.01)), round(float(found.information), 4)
        (True, 0.2475)

    Reference:
        Koch-Janusz & Ringel, Nature Physics 14, 578 (2018).
    """
    check_key("key", key)
    table, count = as_joint(joint), as_count("num_hidden", num_hidden)
    if count > MAX_HIDDEN:
        raise ValueError(f"num_hidden: expected at most {MAX_HIDDEN}, got {count}")
    check_number("norm", norm, above=0)
    table, seen, radius = as_floating_alike(joint=table, features=as_features(features, len(table)), norm=norm)
    starts, steps = as_count("num_starts", num_starts), as_count("num_steps", num_steps)
    return _optimal_filter(key, table, seen, radius, count, starts, steps)


@functools.partial(jax.jit, static_argnames=("num_hidden", "num_starts", "num_steps"))
def _optimal_filter(
    key: Array, joint: Array, features: Array, norm: Array, num_hidden: int, num_starts: int, num_steps: int
) -> OptimalFilter:
    joint = joint / jnp.sum(joint)
    small = float(jnp.finfo(joint.dtype).eps) ** 0.6  # of a gradient: the information is then exact to rounding

    def loss(weights: Array) -> Array:
        coarse = hidden_probabilities(on_sphere(weights, norm), features)
        return -information(jnp.matmul(coarse.T, joint, precision="highest"))

    # optax relies on promotion of dtypes; users who forbid it in their own code can still use it.
    with jax.numpy_dtype_promotion("standard"):
        optimizer = optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(max_linesearch_steps=20))
        value_and_grad: Any = optax.value_and_grad_from_state(loss)

        def ascend(start: Array) -> tuple[Array, Array]:
            def goes_on(carry: tuple[Array, Any, Array, Array]) -> Array:
                return (carry[2] > small) & (carry[3] < num_steps)

            def step(carry: tuple[Array, Any, Array, Array]) -> tuple[Array, Any, Array, Array]:
                weights, state, _, number = carry
                value, gradient = value_and_grad(weights, state=state)
                updates, state = optimizer.update(gradient, state, weights, value=value, grad=gradient, value_fn=loss)
                moved: Any = optax.apply_updates(weights, updates)
                return moved, state, jnp.max(jnp.abs(gradient)), number + 1

            first = start, optimizer.init(start), jnp.full((), jnp.inf, start.dtype), jnp.int32(0)
            weights, *_ = jax.lax.while_loop(goes_on, step, first)
            return weights, -loss(weights)

        shape = num_starts, features.shape[1], num_hidden
        ends, values = jax.lax.map(ascend, on_sphere_each(jax.random.normal(key, shape, joint.dtype)))
    order = jnp.argsort(-values)
    best = ends[order[0]]
    weights = on_sphere(best, norm)
    gradient = jnp.max(jnp.abs(jax.grad(loss)(weights)))
    return OptimalFilter(upright(weights), values[order[0]], information(joint), values[order], gradient)


def on_sphere_each(weights: Array) -> Array:
    """Starts with columns of norm one."""
    return jax.vmap(on_sphere, (0, None))(weights, jnp.ones((), weights.dtype))
