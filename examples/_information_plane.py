"""The 12-bit network of the information plane: its rule, many repeats trained side by side, and what is measured."""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg import training
from jaxrg.explain import information

NUM_BITS, WIDTHS, BATCH_SIZE, RATE = 12, (12, 10, 7, 5, 4, 3, 2), 256, 1e-4
NUM_INPUTS = 2**NUM_BITS
NUM_BINS = 30
NOISE, NUM_NOISY = 0.1, 5  # standard deviation on the 3 units, and the runs in which it is added
LAYERS = (*(f"hidden {number}, {width} units" for number, width in enumerate(WIDTHS[1:-1], 1)), "logits", "softmax")
SHARE = 0.44  # of patterns labelled 1: H(Y) = 0.99 bits, the published I(X; Y)
TANH, RELU = "tanh", "ReLU"


def rule() -> np.ndarray:
    """Labels ``[4096]`` that depend on the rotation-invariant spectrum of a pattern of signs on a sphere.

    Twelve points are spread over the sphere; a pattern is a sum of delta functions with its signs. Its power at
    angular momentum l is a sum of Legendre polynomials over pairs of points, which no rotation changes. The label is
    whether the power at l = 1, 2 and 3 together exceeds a threshold.
    """
    place = np.arange(NUM_BITS) + 0.5
    height, angle = 1 - 2 * place / NUM_BITS, np.pi * (1 + 5**0.5) * place  # a Fibonacci spiral
    ring = np.sqrt(1 - height**2)
    points = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
    cosines = np.clip(points @ points.T, -1, 1)
    kernel = sum((2 * order + 1) * np.polynomial.legendre.Legendre.basis(order)(cosines) for order in (1, 2, 3))
    signs = np.asarray(patterns()).T
    power = np.einsum("xi,ij,xj->x", signs, kernel, signs)
    return (power > np.quantile(power, 1 - SHARE)).astype(np.int32)


def patterns() -> Array:
    """All inputs ``[12, 4096]``, signs."""
    return _signs(jnp.arange(NUM_INPUTS, dtype=jnp.uint32))


def _signs(numbers: Array) -> Array:
    """Bits of numbers ``[..., n]`` as signs ``[..., 12, n]``."""
    places = jnp.arange(NUM_BITS, dtype=jnp.uint32)[:, None]
    return ((numbers[..., None, :] >> places) & 1).astype(jnp.float32) * 2 - 1


class Kind(NamedTuple):
    """A network: its activation, and the bits its activations are rounded to; 32 are none."""

    activation: str
    num_bits: int


def _rounded(values: Array, kind: Kind) -> Array:
    """Activations on 2**bits levels between the least and the largest there can be or is; slopes pass straight."""
    if kind.num_bits == 32:
        return values
    low = -1.0 if kind.activation == TANH else 0.0
    high = 1.0 if kind.activation == TANH else jnp.maximum(jnp.max(values, axis=(1, 2), keepdims=True), 1e-6)
    step = (high - low) / (2**kind.num_bits - 1)
    return values + jax.lax.stop_gradient(low + step * jnp.round((values - low) / step) - values)


def init(key: Array, num_runs: int, kind: Kind) -> list[Array]:
    """Weights ``[runs, units, inputs + 1]`` of every layer, the last column the biases."""
    gain = 1.0 if kind.activation == TANH else 2.0
    sizes = list(itertools.pairwise(WIDTHS))
    keys = jax.random.split(key, len(sizes))
    return [
        jnp.pad(jax.random.normal(key, (num_runs, wide, narrow)) * (gain / narrow) ** 0.5, ((0, 0), (0, 0), (0, 1)))
        for key, (narrow, wide) in zip(keys, sizes, strict=True)
    ]


def forward(params: list[Array], inputs: Array, kind: Kind) -> list[Array]:
    """Values ``[runs, units, inputs]`` of every layer, logits last.

    The inputs lie along the last axis, so that all else is one product of small matrices a run and wide vectors; a row
    of ones carries the biases, whose gradients are then no sums of their own.
    """
    activation: Callable[[Array], Array] = jnp.tanh if kind.activation == TANH else jax.nn.relu
    values, found = inputs, []
    for number, weights in enumerate(params):
        ones = jnp.ones((len(values), 1, values.shape[-1]))
        values = jnp.einsum("rui,rin->run", weights, jnp.concatenate([values, ones], axis=1))
        if number < len(params) - 1:
            values = _rounded(activation(values), kind)
        found.append(values)
    return found


def _shuffled(key: Array, num_runs: int) -> Array:
    """Numbers of all inputs ``[runs, batches, batch]`` in orders of their own.

    Random one-to-one maps of 12 bits, three rounds of multiply, add and shift: sorting would take longer than training.
    """
    keys = jax.random.bits(key, (3, 2, num_runs, 1))
    order = jnp.broadcast_to(jnp.arange(NUM_INPUTS, dtype=jnp.uint32), (num_runs, NUM_INPUTS))
    for factor, shift in keys:
        order = (order * (factor | 1) + shift) & (NUM_INPUTS - 1)
        order = order ^ (order >> (NUM_BITS // 2))
    return order.reshape(num_runs, -1, BATCH_SIZE)


OPTIMIZER = optax.adam(RATE)


@functools.partial(jax.jit, static_argnames="kind", donate_argnums=1)
def train(key: Array, state: tuple, labels: Array, start: Array, stop: Array, *, kind: Kind) -> tuple:
    """Epochs ``start`` to ``stop`` of all runs at once, each with labels ``[runs, 4096]`` and orders of its own."""
    num_runs = len(labels)

    def loss_fn(params: list[Array], inputs: Array, signs: Array) -> Array:
        logits = forward(params, inputs, kind)[-1]
        return jnp.sum(jnp.mean(jax.nn.softplus(signs * (logits[:, 0] - logits[:, 1])), axis=1))  # runs share nothing

    def step(state: tuple, batch: tuple[Array, Array]) -> tuple[tuple, None]:
        params, optimizer_state = state
        numbers, signs = batch
        gradient = jax.grad(loss_fn)(params, _signs(numbers), signs)
        updates, optimizer_state = OPTIMIZER.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state), None

    def epoch(index: Array, state: tuple) -> tuple:
        order = _shuffled(jax.random.fold_in(key, index), num_runs)
        signs = jnp.take_along_axis(labels, order.reshape(num_runs, -1), axis=1).reshape(order.shape) * 2.0 - 1
        return jax.lax.scan(step, state, (order.swapaxes(0, 1), signs.swapaxes(0, 1)))[0]

    return jax.lax.fori_loop(start, stop, epoch, state)


class Plane(NamedTuple):
    """What is measured of all runs at one epoch, in bits but for the accuracy."""

    exact: Array  # [layers, runs] I(X; T) = H(T)
    label: Array  # [layers, runs] I(T; Y)
    binned: Array  # [layers, runs] the entropy of 30 bins
    accuracy: Array  # [runs]
    noisy: Array  # [3, runs] I(X; T + noise) of the 3 units: a lower bound, the value, an upper one; NaN but for a few


@functools.partial(jax.jit, static_argnames="kind")
def measure(params: list[Array], labels: Array, *, kind: Kind) -> Plane:
    """The information plane of all runs; every layer is measured on all inputs there are."""
    values = forward(params, jnp.broadcast_to(patterns(), (len(labels), NUM_BITS, NUM_INPUTS)), kind)
    values.append(jax.nn.softmax(values[-1], axis=1))
    rows = [layer.swapaxes(1, 2) for layer in values]
    entropy, about = jax.vmap(information.entropy_bits), jax.vmap(information.information_bits)
    exact = jnp.stack([entropy(layer) for layer in rows])
    label = jnp.stack([about(layer, labels) for layer in rows])
    binned = jnp.stack([entropy(layer) for layer in map(_in_bins, rows, [kind.activation] * 5 + ["", "softmax"])])
    accuracy = jnp.mean((jnp.argmax(values[-1], axis=1) == labels).astype(jnp.float32), axis=1)
    noisy = jnp.pad(
        _with_noise(rows[4][:NUM_NOISY]), ((0, 0), (0, max(0, len(labels) - NUM_NOISY))), constant_values=jnp.nan
    )
    return Plane(exact, label, binned, accuracy, noisy)


def _with_noise(rows: Array) -> Array:
    """``[3, runs]`` bits: what the layer still tells of its input through noise, between its bounds."""

    def of_run(given: tuple[Array, Array]) -> Array:
        found = information.noisy_information_bits(*given, NOISE**2)
        return jnp.stack([found.lower, found.value, found.upper])

    return jax.lax.map(of_run, (jax.random.split(jax.random.key(2), len(rows)), rows)).T


def _in_bins(rows: Array, activation: str) -> Array:
    """Thirty bins over the range there can be, or that there is in a run."""
    if activation == TANH:
        return information.binned(rows, NUM_BINS, lower=-1.0, upper=1.0)
    if activation == "softmax":
        return information.binned(rows, NUM_BINS, lower=0.0, upper=1.0)
    lower = 0.0 if activation == RELU else jnp.min(rows, axis=(1, 2), keepdims=True)
    upper = jnp.maximum(jnp.max(rows, axis=(1, 2), keepdims=True), lower + 1e-6)
    return information.binned(rows, NUM_BINS, lower=lower, upper=upper)


def study(key: Array, kind: Kind, labels: Array, epochs: np.ndarray, report: Callable[[str], Any]) -> Plane:
    """The planes ``[epochs, ...]`` of as many runs as there are rows of labels."""
    init_key, train_key = jax.random.split(key)
    params = init(init_key, len(labels), kind)
    state, found = (params, OPTIMIZER.init(params)), [measure(params, labels, kind=kind)]
    for start, stop in itertools.pairwise(epochs):
        state = train(train_key, state, labels, np.int32(start), np.int32(stop), kind=kind)
        found.append(measure(state[0], labels, kind=kind))
        report(f"{kind.activation} of {kind.num_bits} bits: epoch {stop}, accuracy {found[-1].accuracy.mean():.3f}")
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def checkpoints(num_epochs: int, number: int = 25) -> np.ndarray:
    """Epochs that are looked at, evenly on a logarithmic axis."""
    return training.checkpoint_epochs(num_epochs, number)
