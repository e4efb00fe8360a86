"""Bijectors made of bijectors: one after the other, backwards, many equal layers, side by side."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial, register_static

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_count, kind_of
from jaxrg.closures import as_functions
from jaxrg.flows.bijectors.making import bijector, check_part


def _as_bijectors(bijectors: Any) -> tuple[Bijector, ...]:
    if not isinstance(bijectors, Sequence) or isinstance(bijectors, Bijector) or not bijectors:
        raise ValueError(f"bijectors: expected a sequence of at least one Bijector, got {kind_of(bijectors)}")
    return tuple(as_functions(f"bijectors[{index}]", value, Bijector) for index, value in enumerate(bijectors))


def chain(bijectors: Sequence[Bijector]) -> Bijector:
    """Bijectors one after the other, the first one first; parameters are a tuple of theirs.

    Raises:
        ValueError: no bijectors.

    Example:
        >>> from jaxrg.flows.bijectors import permutation
        >>> turn = permutation((3,), [1, 2, 0])
        >>> chain([turn, turn]).forward(((), ()), jnp.arange(3.0))[0].tolist()
        [2.0, 0.0, 1.0]
    """
    layers = _as_bijectors(bijectors)
    return bijector(
        Partial(_init_all, tuple(layer.init for layer in layers)),
        Partial(_in_turn, tuple(layer.forward for layer in layers)),
        Partial(_in_turn_back, tuple(layer.inverse for layer in layers)),
    )


def _init_all(inits: tuple[Callable, ...], key: Array) -> PyTree:
    return tuple(init(own) for init, own in zip(inits, jax.random.split(key, len(inits)), strict=True))


def _in_turn(functions: Sequence[Callable], params: PyTree, event: PyTree) -> tuple[PyTree, Array]:
    check_part("params", params, len(functions))
    log_dets = []
    for function, own in zip(functions, params, strict=True):
        event, log_det = function(own, event)
        log_dets.append(log_det)
    return event, functools.reduce(jnp.add, log_dets)


def _in_turn_back(functions: Sequence[Callable], params: PyTree, event: PyTree) -> tuple[PyTree, Array]:
    check_part("params", params, len(functions))
    return _in_turn(functions[::-1], params[::-1], event)


def invert(bijector: Bijector) -> Bijector:
    """The same bijector backwards, with the same parameters.

    Raises:
        ValueError: no bijector.
    """
    init, forward, inverse = as_functions("bijector", bijector, Bijector)
    return Bijector(init, inverse, forward)


@register_static
@dataclasses.dataclass(frozen=True)
class Repeats:
    """How often a layer is repeated, and how many of them are compiled as one step; static."""

    num_layers: int
    unroll: int


def repeat(layer: Bijector, num_layers: int, *, unroll: int = 1) -> Bijector:
    """Equal layers with parameters of their own, one after the other: compiled once, whatever their number.

    Parameters are those of a layer with a leading axis of length ``num_layers``. Where layers should differ by a mask,
    repeat a `chain` of them that ends in a `permutation`.

    Args:
        layer: a bijector from an event to one of the same shape.
        num_layers: at least one.
        unroll: so many layers make one step of the loop: runs a little faster, compiles longer.

    Raises:
        ValueError: no bijector, or a count below one.

    Example:
        >>> from jaxrg.flows.bijectors import affine_coupling, perceptron
        >>> flow = repeat(affine_coupling((2,), [True, False], perceptron((8,))), 10)
        >>> jax.tree.leaves(flow.init(jax.random.key(0)))[0].shape
        (10, 8, 1)
    """
    repeats = Repeats(as_count("num_layers", num_layers), as_count("unroll", unroll))
    layer = as_functions("layer", layer, Bijector)
    return bijector(
        Partial(_init_layers, repeats, layer.init),
        Partial(_scan, repeats, layer.forward),
        Partial(_scan_back, repeats, layer.inverse),
    )


def _init_layers(repeats: Repeats, init: Callable, key: Array) -> PyTree:
    return jax.vmap(init)(jax.random.split(key, repeats.num_layers))


def _scan_back(repeats: Repeats, function: Callable, params: PyTree, event: PyTree) -> tuple[PyTree, Array]:
    return _scan(repeats, function, params, event, reverse=True)


def _scan(
    repeats: Repeats, function: Callable, params: PyTree, event: PyTree, *, reverse: bool = False
) -> tuple[PyTree, Array]:
    for leaf in jax.tree.leaves(params):
        if leaf.ndim == 0 or leaf.shape[0] != repeats.num_layers:
            raise ValueError(
                f"params: expected a leading axis of {repeats.num_layers} layers, got shape {tuple(leaf.shape)}"
            )

    @jax.checkpoint  # a gradient computes each layer again: cheaper than to stack up what it needs, and far smaller
    def step(event: PyTree, own: PyTree) -> tuple[PyTree, Array]:
        return function(own, event)

    event, log_dets = jax.lax.scan(
        step, event, params, length=repeats.num_layers, reverse=reverse, unroll=repeats.unroll
    )
    return event, jnp.sum(log_dets, axis=0)


def joint(bijectors: Sequence[Bijector]) -> Bijector:
    """Bijectors side by side, each on a part of its own of a tuple; log-determinants are added.

    Raises:
        ValueError: no bijectors.
    """
    parts = _as_bijectors(bijectors)
    return bijector(
        Partial(_init_all, tuple(part.init for part in parts)),
        Partial(_side_by_side, tuple(part.forward for part in parts)),
        Partial(_side_by_side, tuple(part.inverse for part in parts)),
    )


def _side_by_side(functions: Sequence[Callable], params: PyTree, event: PyTree) -> tuple[PyTree, Array]:
    check_part("params", params, len(functions))
    check_part("event", event, len(functions))
    results = [function(own, part) for function, own, part in zip(functions, params, event, strict=True)]
    return tuple(part for part, _ in results), functools.reduce(jnp.add, [log_det for _, log_det in results])
