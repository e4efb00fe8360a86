"""Neural networks as pure functions over plain dictionaries of parameters; the one place that knows flax.

Everything else in the library takes bare callables, so any other framework works too: an equinox module is
``jax.vmap(module)``, and a function of your own is itself. A `Net` has parameters alone; a `StatefulNet` also has state
that no gradient moves, such as the running averages of a batch normalisation, or draws random numbers in training.
"""

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen, nnx
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_floating, kind_of

PARAMS = "params"


class Net(NamedTuple):
    """A network as two pure functions.

    Attributes:
        init: ``params = init(key, inputs)`` from one batch ``[batch, ...]`` whose values do not matter.
        apply: ``outputs = apply(params, inputs)`` on a batch.
    """

    init: Callable[[Array, Array], PyTree]
    apply: Callable[[PyTree, Array], Array]


class StatefulNet(NamedTuple):
    """A network with state beside its parameters, as three pure functions.

    Fit it with the state as ``aux``, by `jaxrg.training.stateful_gradient_of` a loss that calls ``train``. What is
    trained is a function like any other: ``functools.partial(net.apply, (params, state))``.

    Attributes:
        init: ``params, state = init(key, inputs)`` from one batch ``[batch, ...]`` whose values do not matter.
        train: ``outputs, state = train(key, params, state, inputs)`` as in training: normalised by the batch, whose
            statistics move the state, and with what is random drawn from the key.
        apply: ``outputs = apply((params, state), inputs)`` as after it: the state as it is, nothing random.

    Example:
        >>> net, (params, state) = stateful_from_nnx(nnx.BatchNorm(2, momentum=0.9, rngs=nnx.Rngs(0)))
        >>> inputs = jnp.array([[1.0, 2.0], [3.0, 6.0]])
        >>> outputs, state = net.train(jax.random.key(0), params, state, inputs)
        >>> state["mean"].tolist()  # a tenth of the way from 0 to 2 and 4
        [0.20000000298023224, 0.4000000059604645]
    """

    init: Callable[[Array, Array], tuple[PyTree, PyTree]]
    train: Callable[[Array, PyTree, PyTree, Array], tuple[Array, PyTree]]
    apply: Callable[[tuple[PyTree, PyTree], Array], Array]


def _once(make: Callable, *arguments: Any) -> Any:
    """The functions of a module, the same objects whenever equal modules ask for them: compiled callers know them."""
    if all(isinstance(argument, Hashable) for argument in arguments):
        try:
            return make(*arguments)
        except TypeError as error:
            if "unhashable" not in str(error):
                raise
    return make.__wrapped__(*arguments)


def from_linen(module: linen.Module) -> Net:
    """The pure pair of a flax linen module with parameters alone.

    Raises:
        ValueError: no linen module; from ``init`` and ``apply``, one with other state: `stateful_from_linen` takes it.
    """
    _check_module(module, linen.Module)
    return _once(_linen_net, module)


def _check_module(module: Any, kind: type) -> None:
    if not isinstance(module, kind):
        raise ValueError(f"module: expected a {kind.__module__} module, got {kind_of(module)}")


def _only_params(variables: PyTree) -> PyTree:
    others = sorted(set(variables) - {PARAMS})
    if others:
        raise ValueError(
            f"module: expected parameters alone, got also {', '.join(others)}, which no gradient may move; "
            "use stateful_from_linen"
        )
    return variables


@functools.lru_cache(maxsize=256)
def _linen_net(module: linen.Module) -> Net:
    @jax.jit
    def init(key: Array, inputs: Array) -> PyTree:
        return _only_params(module.init(key, inputs))

    @jax.jit
    def apply(params: PyTree, inputs: Array) -> Array:
        return jnp.asarray(module.apply(_only_params(params), inputs))

    return Net(init, apply)


def stateful_from_linen(
    module: linen.Module,
    *,
    train: Mapping[str, Any],
    apply: Mapping[str, Any],
    rngs: Sequence[str] = ("dropout",),
) -> StatefulNet:
    """The pure functions of a flax linen module with state besides its parameters, or with randomness in training.

    Args:
        module: called with ``inputs`` and the keywords below.
        train: what tells it that it is trained, such as ``{"train": True}``.
        apply: what tells it that it is not, such as ``{"train": False}``.
        rngs: names of the random numbers it draws in training.

    Example:
        >>> net = stateful_from_linen(linen.Dropout(0.5), train={"deterministic": False}, apply={"deterministic": True})
        >>> params, state = net.init(jax.random.key(0), jnp.ones((1, 4)))
        >>> net.train(jax.random.key(1), params, state, jnp.ones((1, 4)))[0].tolist()
        [[0.0, 2.0, 2.0, 0.0]]
        >>> net.apply((params, state), jnp.ones((1, 4))).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """
    _check_module(module, linen.Module)
    for name, keywords in (("train", train), ("apply", apply)):
        if not isinstance(keywords, Mapping):
            raise ValueError(f"{name}: expected keywords of the module, as {{'train': True}}, got {kind_of(keywords)}")
    return _once(_stateful_linen_net, module, tuple(train.items()), tuple(apply.items()), tuple(rngs))


@functools.lru_cache(maxsize=256)
def _stateful_linen_net(module: linen.Module, in_training: tuple, after: tuple, rngs: tuple[str, ...]) -> StatefulNet:
    @jax.jit
    def init(key: Array, inputs: Array) -> tuple[PyTree, PyTree]:
        variables = module.init(key, inputs, **dict(after))
        state = {name: variables[name] for name in variables if name != PARAMS}
        return {name: variables[name] for name in variables if name == PARAMS}, state

    @jax.jit
    def train(key: Array, params: PyTree, state: PyTree, inputs: Array) -> tuple[Array, PyTree]:
        keys = {name: jax.random.fold_in(key, number) for number, name in enumerate(rngs)}
        return module.apply({**params, **state}, inputs, rngs=keys, mutable=list(state), **dict(in_training))

    @jax.jit
    def apply(variables: tuple[PyTree, PyTree], inputs: Array) -> Array:
        params, state = variables
        return jnp.asarray(module.apply({**params, **state}, inputs, **dict(after)))

    return StatefulNet(init, train, apply)


def from_nnx(module: nnx.Module) -> tuple[Net, PyTree]:
    """The pure pair of a flax NNX module, and the parameters it holds; ``init`` returns those parameters again.

    The module is taken as it is after training: running averages stay what they are now, and nothing is random; to
    train those too, use `stateful_from_nnx`. The module itself is never changed. Parameters may be stacked along new
    leading axes and mapped over, as checkpoints of a training run are.

    Raises:
        ValueError: no NNX module.
    """
    net, (params, state) = stateful_from_nnx(module)

    @jax.jit
    def apply(params: PyTree, inputs: Array) -> Array:
        return net.apply((params, state), inputs)

    return Net(init=lambda key, inputs: params, apply=apply), params


def stateful_from_nnx(module: nnx.Module) -> tuple[StatefulNet, tuple[PyTree, PyTree]]:
    """The pure functions of a flax NNX module, and the parameters and the other state it holds, as dictionaries.

    ``train`` and ``apply`` are the module after its ``train()`` and ``eval()``; the module itself is never changed.
    Random numbers come from the key of ``train`` and are no state.

    Raises:
        ValueError: no NNX module.
    """
    _check_module(module, nnx.Module)
    graphs = []
    for mode in ("train", "eval"):
        copy = nnx.clone(module)
        getattr(copy, mode)()
        graph, params, random, state = nnx.split(copy, nnx.Param, nnx.RngState, ...)
        graphs.append(graph)

    def merged(graph: Any, values: PyTree, held: PyTree, random: PyTree) -> nnx.Module:
        parts = []
        for part, given in ((params, values), (state, held)):
            part = jax.tree.map(lambda leaf: leaf, part)  # other variables, which the module may write to
            nnx.replace_by_pure_dict(part, given)
            parts.append(part)
        return nnx.merge(graph, *parts, random)

    @jax.jit
    def train(key: Array, params: PyTree, state: PyTree, inputs: Array) -> tuple[Array, PyTree]:
        leaves, structure = jax.tree.flatten(random)
        leaves = [_fresh(jax.random.fold_in(key, number), leaf) for number, leaf in enumerate(leaves)]
        copy = merged(graphs[0], params, state, structure.unflatten(leaves))
        outputs = copy(inputs)
        _, _, _, _, state = nnx.split(copy, nnx.Param, nnx.RngState, nnx.Intermediate, ...)
        return jnp.asarray(outputs), nnx.to_pure_dict(state)

    @jax.jit
    def apply(variables: tuple[PyTree, PyTree], inputs: Array) -> Array:
        still = jax.tree.map(lambda leaf: leaf, random)
        return jnp.asarray(merged(graphs[1], *variables, still)(inputs))

    held = nnx.to_pure_dict(params), nnx.to_pure_dict(state)
    return StatefulNet(init=lambda key, inputs: held, train=train, apply=apply), held


def _fresh(key: Array, leaf: Array) -> Array:
    """Keys like those of a module, from another one; its counts stay."""
    if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    return jax.random.split(key, leaf.shape) if leaf.ndim else key


class _Mlp(linen.Module):
    widths: tuple[int, ...]

    @linen.compact
    def __call__(self, inputs: Array) -> Array:
        inputs = as_floating("inputs", inputs)
        hidden = inputs.reshape(inputs.shape[0], -1)
        for width in self.widths[:-1]:
            hidden = jax.nn.relu(linen.Dense(width)(hidden))
        return linen.Dense(self.widths[-1])(hidden)


class _Cnn(linen.Module):
    channels: tuple[int, ...]
    num_outputs: int

    @linen.compact
    def __call__(self, inputs: Array) -> Array:
        hidden = as_floating("inputs", inputs)
        if hidden.ndim not in (3, 4):
            raise ValueError(f"inputs: expected [batch, rows, columns] or with channels, got shape {hidden.shape}")
        hidden = hidden if hidden.ndim == 4 else hidden[..., None]
        for num_channels in self.channels:
            hidden = jax.nn.relu(linen.Conv(num_channels, (3, 3))(hidden))
            # flax divides by an integer count; users who forbid promotion in their own code can still use this.
            with jax.numpy_dtype_promotion("standard"):
                hidden = linen.avg_pool(hidden, (2, 2), strides=(2, 2))
        return linen.Dense(self.num_outputs)(hidden.reshape(hidden.shape[0], -1))


def _as_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    if isinstance(sizes, str | bytes) or not isinstance(sizes, Sequence):
        raise ValueError(f"{name}: expected a sequence of sizes, got {kind_of(sizes)}")
    return tuple(as_count(name, size) for size in sizes)


def mlp(widths: Sequence[int]) -> Net:
    """A perceptron with ReLU between layers; inputs of any shape are flattened; ``widths`` ends with the outputs.

    Raises:
        ValueError: no widths, or a width below one.
    """
    sizes = _as_sizes("widths", widths)
    if not sizes:
        raise ValueError(f"widths: expected at least the number of outputs, got {widths!r}")
    return from_linen(_Mlp(sizes))


def cnn(channels: Sequence[int], num_outputs: int) -> Net:
    """3x3 convolutions with ReLU, each followed by a 2x2 average pool, and one dense layer on top.

    Inputs are ``[batch, rows, columns]`` or ``[batch, rows, columns, channels]``.

    Raises:
        ValueError: a count below one.
    """
    return from_linen(_Cnn(_as_sizes("channels", channels), as_count("num_outputs", num_outputs)))
