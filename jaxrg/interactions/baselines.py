"""What absent players show besides zeros or the mean of the data: a blurred image, or values learned to be sparse.

A set of backgrounds needs no function: hand `masked_game` an array with one more leading axis.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg import training
from jaxrg.checks import check_count
from jaxrg.interactions.dividends import harsanyi
from jaxrg.interactions.games import evaluate
from jaxrg.interactions.masking import masked_game

KERNEL_RADIUS = 4  # standard deviations, beyond which a Gaussian weighs less than float32 resolves


def blurred_baseline(image: Array, deviation: float) -> Array:
    """A Gaussian blur, of so many pixels' deviation, of ``[rows, columns(, channels)]`` with reflected borders."""
    if image.ndim not in (2, 3):
        raise ValueError(f"image: expected [rows, columns] or [rows, columns, channels], got shape {image.shape}")
    if not deviation > 0:
        raise ValueError(f"deviation: expected a positive number of pixels, got {deviation}")
    radius = int(np.ceil(KERNEL_RADIUS * deviation))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    weights = jnp.asarray(kernel / kernel.sum(), image.dtype)

    def blur_line(line: Array) -> Array:
        return jnp.convolve(jnp.pad(line, radius, mode="symmetric"), weights, mode="valid")

    return jnp.apply_along_axis(blur_line, 1, jnp.apply_along_axis(blur_line, 0, image))


class LearnedBaseline(NamedTuple):
    """A baseline learned from data."""

    baseline: Array  # [*sample.shape]
    strengths: Array  # [num_epochs] sum |I(S)| / |v(N) - v(∅)|, mean over the samples and steps of an epoch


def learn_baseline(
    key: Array,
    model: Callable[[Array], Array],
    samples: Array,
    labels: Array,
    *,
    initial: Array,
    radius: Array,
    assignment: np.ndarray,
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
    check_count("num_epochs", num_epochs)
    reach = jnp.broadcast_to(jnp.asarray(radius, initial.dtype), initial.shape)
    if not np.all(np.asarray(reach) >= 0):
        raise ValueError(f"radius: expected no negative entries, got {float(jnp.min(reach))}")

    def as_baseline(position: Array) -> Array:
        return initial + reach * jnp.tanh(position)

    def strength(position: Array, sample: Array, label: Array) -> Array:
        baseline, score_fn = as_baseline(position), lambda outputs: score(outputs, label)
        values = evaluate(masked_game(model, sample, baseline=baseline, assignment=assignment, score=score_fn))
        return jnp.sum(jnp.abs(harsanyi(values)[1:])) / jnp.abs(values[-1] - values[0])

    def loss(key: Array, position: Array, batch: tuple[Array, Array]) -> Array:
        return jnp.mean(jax.vmap(strength, in_axes=(None, 0, 0))(position, *batch))

    fit = training.fit(
        key,
        training.gradient_of(loss),
        optax.adam(learning_rate),
        jnp.zeros_like(initial),
        (samples, labels),
        num_epochs=num_epochs,
        batch_size=min(batch_size, len(samples)),
    )
    return LearnedBaseline(as_baseline(fit.params), fit.metrics["loss"])
