"""What the studies of images share: the two flows, training for so many minutes, and strips of images."""

import functools
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from matplotlib.axes import Axes

from jaxrg import flows, training
from jaxrg.base import Bijector, Density
from jaxrg.flows import bijectors

MARGIN = 0.05  # images are squashed to [0.05, 0.95] before the logit, as published
EVALUATED_AT_ONCE = 128


# The hierarchical flow: layers on the 4 x 4 sites of a block, whose values are one list of features.
def on_features(inner: Bijector, event: Sequence[int]) -> Bijector:
    """A bijector of a list of features as one of an event of another shape."""
    both = (Partial(functools.partial(_reshaped, len(event)), fn) for fn in (inner.forward, inner.inverse))
    return Bijector(inner.init, *both)


def _reshaped(num_axes: int, fn: Callable, params: Any, values: jax.Array) -> tuple[jax.Array, jax.Array]:
    changed, log_det = fn(params, values.reshape(-1, *values.shape[num_axes:]))
    return changed.reshape(values.shape), log_det


def mixing_layers(event: Sequence[int], conditioner: Any, num_layers: int, is_simple: bool = False) -> Bijector:
    """Layers that scale, rotate and couple the first axis of an event, as those of Glow; simple ones reverse it."""
    kept = np.arange(event[0]) < (event[0] + 1) // 2
    turned = np.arange(event[0])[::-1].copy()
    turn = bijectors.permutation(event, turned) if is_simple else bijectors.invertible_convolution(event)
    layer = bijectors.chain([bijectors.affine_coupling(event, kept, conditioner), turn, bijectors.actnorm(event)])
    return bijectors.repeat(layer, num_layers)


def hierarchical(
    sides: tuple[int, int], channels: int, num_layers: Sequence[int], hidden: int, is_simple: bool = False
) -> Bijector:
    """An `rg_flow` with so many layers in the blocks of each level; a simple one has one pass for each."""
    block = (4, 4, channels)

    def layer(level: int) -> Bijector:
        conditioner = bijectors.perceptron((hidden, hidden))
        return on_features(mixing_layers((math.prod(block),), conditioner, num_layers[level], is_simple), block)

    return flows.rg_flow(
        sides,
        block=4,
        num_levels=len(num_layers),
        disentangler=layer,
        decimator=layer,
        channels=channels,
        offsets=(0,) if is_simple else None,
        is_periodic=False,
    )


# The flow it is compared with: a multi-scale RealNVP.
def convolutional(hidden: int) -> bijectors.Conditioner:
    """A network of three convolutions, 3x3, 1x1 and 3x3, that starts at zero; channels come first."""

    def init(key: jax.Array, inputs: jax.Array, num_outputs: int) -> list:
        keys = jax.random.split(key, 2)
        first = jax.random.normal(keys[0], (hidden, 9 * inputs.shape[0])) / math.sqrt(9 * inputs.shape[0])
        second = jax.random.normal(keys[1], (hidden, hidden)) / math.sqrt(hidden)
        last = jnp.zeros((num_outputs, 9 * hidden))
        return [(weight, jnp.zeros(weight.shape[0])) for weight in (first, second, last)]

    def apply(params: list, values: jax.Array) -> jax.Array:
        for number, (weight, bias) in enumerate(params):
            values = jax.nn.silu(values) if number else values
            values = jnp.tensordot(weight, values if number == 1 else _neighbourhoods(values), 1)
            values = values + bias.reshape(-1, *(1,) * (values.ndim - 1))
        return values

    return bijectors.Conditioner(init, apply)


def _neighbourhoods(values: jax.Array) -> jax.Array:
    """``[9 * channels, rows, columns, *lanes]``: each pixel with its eight neighbours, zero beyond the edges."""
    padding = [(0, 0), (1, 1), (1, 1)] + [(0, 0)] * (values.ndim - 3)
    padded, (rows, columns) = jnp.pad(values, padding), values.shape[1:3]
    return jnp.concatenate([padded[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)])


def multiscale(
    sides: tuple[int, int], channels: int, num_layers: Sequence[int], hidden: int, is_simple: bool = False
) -> tuple[Bijector, dict]:
    """A RealNVP with 1x1 convolutions, and the shapes of its latents: squeezed, mixed, and half of it left behind."""
    stages, shape, latent_shapes = [], (channels, *sides), {}
    for level, count in enumerate(num_layers):
        squeeze = bijectors.squeeze(shape)
        shape = (4 * shape[0], shape[1] // 2, shape[2] // 2)
        stages.append((squeeze, mixing_layers(shape, convolutional(hidden), count, is_simple)))
        if level < len(num_layers) - 1:
            shape = (shape[0] // 2, *shape[1:])
        latent_shapes[level] = shape
    return Bijector(*(Partial(fn, tuple(stages)) for fn in (_init_stages, _generate, _encode))), latent_shapes


def _init_stages(stages: tuple, key: jax.Array) -> tuple:
    keys = jax.random.split(key, len(stages))
    return tuple(layers.init(own) for own, (_, layers) in zip(keys, stages, strict=True))


def _encode(stages: tuple, params: tuple, image: jax.Array) -> tuple[dict, jax.Array]:
    values, total, latents = jnp.moveaxis(image, 2, 0), jnp.zeros(image.shape[3:]), {}
    for level, (squeeze, layers) in enumerate(stages):
        values, log_det = layers.inverse(params[level], squeeze.forward((), values)[0])
        total = total + log_det
        if level < len(stages) - 1:
            values, latents[level] = jnp.split(values, 2)
    return latents | {len(stages) - 1: values}, total


def _generate(stages: tuple, params: tuple, latents: dict) -> tuple[jax.Array, jax.Array]:
    values = latents[len(stages) - 1]
    total = jnp.zeros(values.shape[3:])
    for level in reversed(range(len(stages))):
        squeeze, layers = stages[level]
        if level < len(stages) - 1:
            values = jnp.concatenate([values, latents[level]])
        values, log_det = layers.forward(params[level], values)
        values, total = squeeze.inverse((), values)[0], total + log_det
    return jnp.moveaxis(values, 0, 2), total


def image_density(
    flow: Bijector, shape: Sequence[int], latent_shapes: dict, prior: Callable, **options: Any
) -> Density:
    """The density of images in [0, 1] of a flow of unbounded images."""
    squash = bijectors.invert(bijectors.logit(tuple(shape), margin=MARGIN))
    return flows.density(bijectors.chain([flow, squash]), prior(latent_shapes, **options))


def to_field(images: Any) -> jax.Array:
    """Images in (0, 1) as the unbounded numbers that such a flow is of."""
    values = MARGIN + (1 - 2 * MARGIN) * jnp.asarray(images)
    return jnp.log(values) - jnp.log1p(-values)


def to_images(field: jax.Array) -> jax.Array:
    """The way back, to [0, 1]."""
    return jnp.clip((jax.nn.sigmoid(field) - MARGIN) / (1 - 2 * MARGIN), 0, 1)


def num_parameters(density: Density) -> int:
    """Trained numbers of a density."""
    shapes = jax.eval_shape(density.init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def width_of_equal_size(make: Callable[[int], Density], target: int) -> int:
    """The width with which a density has about so many parameters; they grow with the width."""
    low, high = 1, 2
    while num_parameters(make(high)) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if num_parameters(make(middle)) < target else (low, middle)
    return min((low, high), key=lambda width: abs(num_parameters(make(width)) - target))


class Flow(NamedTuple):
    """A flow of images or of the unbounded numbers behind them, and its density of images in [0, 1]."""

    flow: Any
    density: Density
    latent_shapes: dict[int, tuple[int, ...]]
    is_of_images: bool

    def encode(self, params: Any, images: np.ndarray, key: jax.Array) -> dict[int, np.ndarray]:
        """Latents of grey levels with noise inside them."""
        parts = []
        for number, part in enumerate(np.array_split(images, max(1, len(images) // 256))):
            noise = jax.random.uniform(jax.random.fold_in(key, number), part.shape, maxval=1 - 2.0**-12)
            values = (part.astype(np.float32) + np.asarray(noise)) / 256
            parts.append(flows.encode(self.flow, params, values if self.is_of_images else to_field(values))[0])
        return {level: np.concatenate([np.asarray(one[level]) for one in parts]) for level in parts[0]}

    def images(self, fields: Any) -> jax.Array:
        """Images in [0, 1] of what the flow makes."""
        return fields if self.is_of_images else to_images(fields)


# Training.
class Training(NamedTuple):
    """How long, and on what."""

    minutes: float
    batch_size: int
    steps_per_epoch: int  # between two points of the curve
    learning_rate: float = 1e-3


class Trained(NamedTuple):
    """A density after its training."""

    params: flows.images.ImageParams  # of the last step or their moving average, what has fewer bits
    minutes: np.ndarray  # [epochs] since the start, compilation included
    bits: np.ndarray  # [epochs] bits per dimension of some held-out images
    num_steps: int


def _on_random_images(size: int, likelihood: Partial, levels: jax.Array, key: Any, params: Any, aux: Any, _: Any):
    rows_key, key = jax.random.split(key)
    rows = jax.random.randint(rows_key, (size,), 0, levels.shape[0])
    return likelihood(key, params, aux, levels[rows])


def _bits_of(likelihood: Partial, levels: jax.Array, params: Any, aux: Any) -> jax.Array:
    return likelihood(jax.random.key(0), params, aux, levels)[2]["bits_per_dimension"]


def train(
    density: Density,
    dequantisation: flows.images.Dequantisation,
    levels: jax.Array,
    chosen_on: jax.Array,
    settings: Training,
    folder: Path | None,
    name: str,
) -> Trained:
    """Train for the minutes of the settings, or go on with a run of the folder until it has had so many."""
    likelihood = flows.images.image_likelihood(density, dequantisation)
    draw = Partial(functools.partial(_on_random_images, settings.batch_size), likelihood, levels)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(settings.learning_rate), training.moving_average(0.998)
    )
    init_key, noise_key, key = jax.random.split(jax.random.key(1), 3)
    params = flows.images.ImageParams(density.init(init_key), dequantisation.init(noise_key))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    clock = None if folder is None else folder / "minutes.json"
    minutes = json.loads(clock.read_text()) if clock is not None and clock.exists() else []
    begun = time.perf_counter() - 60 * (minutes[-1] if minutes else 0.0)

    def on_epoch(run: training.Fit) -> bool:
        if run.epoch > len(minutes):
            minutes.append((time.perf_counter() - begun) / 60)
            if clock is not None:
                clock.write_text(json.dumps(minutes))
            if run.epoch % 10 == 1:
                print(f"{name}: {minutes[-1]:.2f} min, {float(run.validation[-1]):.3f} bits/dim", flush=True)
        del minutes[run.epoch :]  # epochs after the checkpoint that a broken run goes on from
        return bool(minutes) and minutes[-1] >= settings.minutes

    run = training.fit(
        key,
        draw,
        optimizer,
        params,
        num_epochs=10**6,
        steps_per_epoch=settings.steps_per_epoch,
        validation_fn=Partial(_bits_of, likelihood, chosen_on),
        on_epoch=on_epoch,
        checkpoint_dir=None if folder is None else folder / "checkpoints",
        checkpoint_every=5,
    )
    # An average over more steps than were made would do a slow flow wrong.
    found = run.params, training.averaged_params(run.optimizer_state)
    best = min(found, key=lambda params: float(_bits_of(likelihood, chosen_on, params, ())))
    return Trained(best, np.array(minutes), np.asarray(run.validation), run.epoch * settings.steps_per_epoch)


def evaluate(density: Density, dequantisation: flows.images.Dequantisation, params: Any, levels: Any, **options: Any):
    """Held-out bits per dimension."""
    return flows.images.bits_per_dimension(
        jax.random.key(2), density, dequantisation, params, levels, batch_size=EVALUATED_AT_ONCE, **options
    )


def show_images(axes: Axes, rows: Any, labels: Sequence[str] = ()) -> None:
    """Images ``[rows, columns, height, width, channels]`` in [0, 1] as one picture, with labels of the rows."""
    images = np.clip(np.nan_to_num(np.asarray(rows, float)), 0, 1)
    num_rows, num_columns, height, width, channels = images.shape
    padded = np.ones((num_rows, num_columns, height + 2, width + 2, channels))
    padded[:, :, 1:-1, 1:-1] = images
    picture = padded.transpose(0, 2, 1, 3, 4).reshape(num_rows * (height + 2), num_columns * (width + 2), channels)
    axes.imshow(picture if channels == 3 else picture[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=(np.arange(len(labels)) + 0.5) * (height + 2))
    axes.set_yticklabels(labels)
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
