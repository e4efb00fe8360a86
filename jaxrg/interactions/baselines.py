"""What absent players show besides zeros or the mean of the data: a blurred image, or values learned to be sparse.

A set of backgrounds needs no function: hand `masked_game` an array with one more leading axis.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg import training
from jaxrg.checks import (
    as_array,
    as_count,
    as_floating,
    as_integers,
    check_function,
    check_key,
    check_number,
    check_shape,
)
from jaxrg.closures import as_partial
from jaxrg.interactions.dividends import harsanyi
from jaxrg.interactions.games import evaluate
from jaxrg.interactions.masking import as_assignment, masked_game

KERNEL_RADIUS = 4  # standard deviations, beyond which a Gaussian weighs less than float32 resolves


def blurred_baseline(image: ArrayLike, deviation: float) -> Array:
    """A Gaussian blur, of so many pixels' deviation, of ``[rows, columns(, channels)]`` with reflected borders.

    Returns:
        Floats of the image's shape, also of an image of integers.
    """
    pixels = as_floating("image", image)
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise ValueError(f"image: expected [rows, columns] or [rows, columns, channels], got shape {pixels.shape}")
    check_number("deviation", deviation, above=0)
    radius = int(np.ceil(KERNEL_RADIUS * float(deviation)))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / float(deviation)) ** 2)
    return _blur(pixels, (kernel / kernel.sum()).astype(pixels.dtype))


@jax.jit
def _blur(image: Array, weights: Array) -> Array:
    def blur_line(line: Array) -> Array:
        return jnp.convolve(jnp.pad(line, len(weights) // 2, mode="symmetric"), weights, mode="valid")

    return jnp.apply_along_axis(blur_line, 1, jnp.apply_along_axis(blur_line, 0, image))


class LearnedBaseline(NamedTuple):
    """A baseline learned from data."""

    baseline: Array  # [*sample.shape]
    strengths: Array  # [num_epochs] sum |I(S)| / |v(N) - v(∅)|, mean over the samples and steps of an epoch


def learn_baseline(
    key: Array,
    model: Callable[[Array], Array],
    samples: ArrayLike,
    labels: ArrayLike,
    *,
    initial: ArrayLike,
    radius: ArrayLike,
    assignment: ArrayLike,
    score: Callable[[Array, Array], Array],
    num_epochs: int = 50,
    batch_size: int = 16,
    learning_rate: float = 0.05,
) -> LearnedBaseline:
    r"""Baseline values that make the interactions of a model sparse, near given ones.

    .. math:: \min_r \; \mathbb E_x \frac{\sum_{S \ne \emptyset} |I_x(S)|}{|v_x(N) - v_x(\emptyset)|}
        \quad\text{with}\quad |r - r_0| \le \mathrm{radius}

    Without the bound the minimum is an input that the model ignores altogether; without the denominator, one that it
    takes for the sample itself.

    Args:
        key: orders the batches.
        model: ``outputs = model(inputs[batch, ...])``.
        samples: ``[num_samples, ...]``.
        labels: ``[num_samples]``.
        initial: r_0, of a sample's shape.
        radius: how far each entry may move, broadcast to a sample's shape; a tenth of the data's standard deviation
            keeps it within what the model has seen.
        assignment: as in `masked_game`.
        score: ``values[batch] = score(outputs, label)``.
        num_epochs, batch_size, learning_rate: of Adam.

    Reference:
        Ren, Li, Chen, Deng & Zhang, CVPR 2023, arXiv:2111.06206.
    """
    check_key("key", key)
    check_function("model", model, of="a batch of inputs")
    check_function("score", score, of="outputs and a label")
    start, inputs, players = as_floating("initial", initial), as_array("samples", samples), as_assignment(assignment)
    check_shape("samples", inputs, (len(inputs) if inputs.ndim else 0, *start.shape))
    check_shape("labels", classes := as_integers("labels", labels), inputs.shape[:1])
    reach = np.broadcast_to(np.asarray(as_floating("radius", radius)), start.shape).astype(start.dtype)
    if not np.all((reach >= 0) & np.isfinite(reach)):
        raise ValueError(f"radius: expected no negative entries and finite ones, got {float(reach.min())}")
    loss = functools.partial(_loss, as_partial(model), as_partial(score), start, jnp.asarray(reach), assignment=players)
    fit = training.fit(
        key,
        training.gradient_of(loss),
        _adam(float(learning_rate)),
        jnp.zeros(start.shape, start.dtype),
        (inputs, classes),
        num_epochs=as_count("num_epochs", num_epochs),
        batch_size=min(as_count("batch_size", batch_size), len(inputs)),
    )
    return LearnedBaseline(_moved(start, reach, fit.params), fit.metrics["loss"])


_adam = functools.lru_cache(optax.adam)  # an optimiser made anew compiles anew


@jax.jit
def _moved(initial: Array, reach: Array, position: Array) -> Array:
    return initial + reach * jnp.tanh(position)


def _loss(
    model: Callable,
    score: Callable,
    initial: Array,
    reach: Array,
    key: Array,
    position: Array,
    batch: tuple[Array, Array],
    *,
    assignment: np.ndarray,
) -> Array:
    baseline = _moved(initial, reach, position)

    def strength(sample: Array, label: Array) -> Array:
        score_fn = Partial(_score_of, score, label)
        values = evaluate(masked_game(model, sample, baseline=baseline, assignment=assignment, score=score_fn))
        return jnp.sum(jnp.abs(harsanyi(values)[1:])) / jnp.abs(values[-1] - values[0])

    return jnp.mean(jax.vmap(strength)(*batch))


def _score_of(score: Callable, label: Array, outputs: Array) -> Array:
    return score(outputs, label)
