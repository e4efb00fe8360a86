"""Layers of a network by their number: moved into another network, and kept as they are while the rest is trained."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import PyTree
from jaxrg.checks import as_integers, check_function, is_traced, kind_of
from jaxrg.training.arguments import as_params
from jaxrg.training.epoch import Optimizer, as_optimizer


def layer_numbers(params: PyTree, layers_of: Callable[[PyTree], Sequence[PyTree]]) -> PyTree:
    """The number of the layer that every parameter belongs to, 0 for the one next to the inputs.

    Args:
        params: of a network, any pytree of arrays; their values do not matter.
        layers_of: the layers of such a tree in order, each a part of it, as ``lambda params: [params["first"], ...]``
            or ``lambda net: net.layers``.

    Returns:
        int32 numbers in the tree of the parameters.

    Raises:
        ValueError: no layers, something that is no part of the tree, or parameters in none or in two of the layers.

    Example:
        >>> params = {"last": {"bias": 0.0, "weight": 0.0}, "first": 0.0}
        >>> numbers = layer_numbers(params, lambda params: [params["first"], params["last"]])
        >>> jax.tree.map(int, numbers)
        {'first': 0, 'last': {'bias': 1, 'weight': 1}}
    """
    check_function("layers_of", layers_of, of="the parameters")
    paths, structure = jax.tree.flatten_with_path(as_params("params", params))
    layers = layers_of(jax.tree.unflatten(structure, range(len(paths))))
    if not isinstance(layers, Sequence) or not layers:
        raise ValueError(f"layers_of: expected a sequence of layers, got {kind_of(layers)}")
    numbers = np.full(len(paths), -1, np.int32)
    for number, layer in enumerate(layers):
        for leaf in jax.tree.leaves(layer):
            if isinstance(leaf, bool) or not isinstance(leaf, int) or not 0 <= leaf < len(paths):
                raise ValueError(f"layers_of: expected parts of the parameters, got {kind_of(leaf)} in layer {number}")
            if numbers[leaf] >= 0:
                at = jax.tree_util.keystr(paths[leaf][0])
                raise ValueError(f"layers_of: expected every parameter in one layer, got params{at} in two")
            numbers[leaf] = number
    missing = [jax.tree_util.keystr(path) for (path, _), number in zip(paths, numbers, strict=True) if number < 0]
    if missing:
        raise ValueError(f"layers_of: expected every parameter in one layer, got none for params{missing[0]}")
    return jax.tree.unflatten(structure, list(numbers))


def num_layers_of(layers: PyTree) -> int:
    """How many layers there are, from their numbers."""
    if is_traced(layers):
        raise ValueError("layers: expected the numbers of layer_numbers, got traced values")
    leaves = [np.asarray(as_integers("layers", leaf, minimum=0)) for leaf in jax.tree.leaves(layers)]
    if not leaves or any(leaf.ndim for leaf in leaves):
        raise ValueError(f"layers: expected one number for each parameter, as of layer_numbers, got {kind_of(layers)}")
    return int(max(leaves)) + 1


def _as_number(name: str, value: Any, most: int) -> Array:
    number = as_integers(name, value, minimum=0, maximum=most)
    if number.ndim:
        raise ValueError(f"{name}: expected one number of layers, got {kind_of(value)}")
    return number


def _check_structure(name: str, tree: PyTree, layers: PyTree) -> None:
    if jax.tree.structure(tree) != jax.tree.structure(layers):
        raise ValueError(
            f"{name}: expected parameters in the tree of layers, {jax.tree.structure(layers)}, "
            f"got {jax.tree.structure(tree)}"
        )


def transplant(source: PyTree, target: PyTree, layers: PyTree, num_layers: Array | int) -> PyTree:
    r"""The first layers of one network and the others of another.

    .. math:: \theta_\ell = \begin{cases} \theta^{source}_\ell & \ell < n \\ \theta^{target}_\ell & \ell \ge n
        \end{cases}

    The number of layers is traced: another depth does not compile anew. Both may have leading axes of seeds.

    Args:
        source: parameters the first layers are from.
        target: those of the same tree that the others are from, freshly initialised ones for a transfer. Arrays of a
            layer may differ in shape from those of the source, as of an output layer for other classes, if it is not
            among the first.
        layers: of `layer_numbers`.
        num_layers: n, from 0, where nothing is moved, to the number of layers.

    Raises:
        ValueError: trees that differ, a number that is none of layers, or a layer to be moved whose shapes differ.

    Example:
        >>> layers = {"first": 0, "second": 1}
        >>> moved = transplant({"first": 1.0, "second": 2.0}, {"first": 3.0, "second": 4.0}, layers, 1)
        >>> jax.tree.map(float, moved)
        {'first': 1.0, 'second': 4.0}
    """
    number = _as_number("num_layers", num_layers, num_layers_of(layers))
    given, receiving = as_params("source", source), as_params("target", target)
    for name, params in (("source", given), ("target", receiving)):
        _check_structure(name, params, layers)

    def fitting(path: Any, new: Array, old: Array, layer: Any) -> Array:
        if (new.shape, new.dtype) == (old.shape, old.dtype):
            return new
        if is_traced(number) or int(number) > int(layer):
            at = jax.tree_util.keystr(path)
            raise ValueError(f"source{at}: expected {old.dtype}{list(old.shape)}, got {new.dtype}{list(new.shape)}")
        return old

    return _transplant(jax.tree.map_with_path(fitting, given, receiving, layers), receiving, layers, number)


@jax.jit
def _transplant(source: PyTree, target: PyTree, layers: PyTree, number: Array) -> PyTree:
    return jax.tree.map(lambda layer, new, old: jnp.where(layer < number, new, old), layers, source, target)


def freeze_first(
    optimizer: optax.GradientTransformation, layers: PyTree, num_frozen: Array | int
) -> optax.GradientTransformationExtraArgs:
    """An optimiser that leaves the first layers as they are, bit for bit, whatever the gradient.

    The wrapped one sees gradients of zero there, and what it wants to change nevertheless, as the decay of weights
    does, is dropped. The number of layers is an array of the optimiser: one program serves all depths, and
    ``jax.vmap`` trains several at once. The gradient of frozen layers is computed all the same.

    Args:
        optimizer: of optax.
        layers: of `layer_numbers`.
        num_frozen: 0 for none, to the number of layers.

    Raises:
        ValueError: no optimiser, or a number that is none of layers; in use, parameters of another tree.

    Example:
        >>> import optax
        >>> optimizer = freeze_first(optax.sgd(1.0), {"first": 0, "second": 1}, 1)
        >>> params = {"first": jnp.float32(1), "second": jnp.float32(1)}
        >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
        >>> jax.tree.map(float, optax.apply_updates(params, updates))
        {'first': 1.0, 'second': 0.0}
    """
    inner = as_optimizer(optimizer)
    number = _as_number("num_frozen", num_frozen, num_layers_of(layers))
    numbers = jax.tree.map(lambda layer: jnp.asarray(layer, jnp.int32), layers)
    return optax.GradientTransformationExtraArgs(inner.init, Partial(_update, inner, numbers, number))


def _update(
    inner: Optimizer,
    layers: PyTree,
    number: Array,
    gradients: PyTree,
    state: PyTree,
    params: PyTree = None,
    **extra: Any,
) -> tuple[PyTree, PyTree]:
    _check_structure("params", gradients, layers)

    def without_first(tree: PyTree, value: float) -> PyTree:
        return jax.tree.map(lambda layer, leaf: jnp.where(layer < number, leaf.dtype.type(value), leaf), layers, tree)

    if "grad" in extra:  # as line searches are given it
        extra |= {"grad": without_first(extra["grad"], 0.0)}
    updates, state = inner.update(without_first(gradients, 0.0), state, params, **extra)
    return without_first(updates, -0.0), state  # x + (-0.0) has the bits of x, also where x is -0.0
