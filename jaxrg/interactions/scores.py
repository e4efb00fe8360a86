"""What a classifier's outputs are worth: one number per input, from logits ``[..., classes]``.

``label`` is one class for all outputs, or ``[...]``, one for each; what can be seen to be no class is refused, and a
traced label that is none gives NaN.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_floating, as_integers, as_labels, take_labelled


def _checked(outputs: ArrayLike, label: ArrayLike, min_classes: int = 1) -> tuple[Array, Array]:
    logits = as_floating("outputs", outputs)
    num_classes = logits.shape[-1] if logits.ndim else 0
    if num_classes < min_classes:
        raise ValueError(f"outputs: expected [..., classes], at least {min_classes} of them, got shape {logits.shape}")
    is_one_for_all = as_integers("label", label).ndim == 0
    return logits, as_labels("label", label, num_classes, () if is_one_for_all else logits.shape[:-1])


def logit(outputs: ArrayLike, label: ArrayLike) -> Array:
    """The output of one class, ``[...]``.

    Example:
        >>> logit(jnp.array([[3.0, 1.0], [0.0, 2.0]]), jnp.array([0, 1])).tolist()
        [3.0, 2.0]
    """
    return _logit(*_checked(outputs, label))


@jax.jit
def _logit(outputs: Array, label: Array) -> Array:
    return take_labelled(outputs, jnp.broadcast_to(label, outputs.shape[:-1]))


def log_probability(outputs: ArrayLike, label: ArrayLike) -> Array:
    r"""Logarithm of the softmax probability, :math:`z_y - \ln\sum_k e^{z_k}`."""
    return _log_probability(*_checked(outputs, label))


@jax.jit
def _log_probability(outputs: Array, label: Array) -> Array:
    return _logit(outputs, label) - jax.nn.logsumexp(outputs, axis=-1)


def log_odds(outputs: ArrayLike, label: ArrayLike) -> Array:
    r"""Log odds of a class, :math:`\ln\frac{p_y}{1-p_y} = z_y - \ln\sum_{k\ne y} e^{z_k}`, of at least two classes.

    Never formed from probabilities, which round to 0 or 1 long before the odds lose their meaning.

    Example:
        >>> float(log_odds(jnp.array([3.0, 1.0]), 0))
        2.0

    Reference:
        Deng, Ren, Zhang & Zhang, ICLR 2022, arXiv:2111.06236; Ren, Li, Chen, Deng & Zhang, CVPR 2023,
        arXiv:2111.06206.
    """
    return _log_odds(*_checked(outputs, label, min_classes=2))


@jax.jit
def _log_odds(outputs: Array, label: Array) -> Array:
    labels = jnp.broadcast_to(label, outputs.shape[:-1])
    classes = jnp.arange(outputs.shape[-1], dtype=labels.dtype).reshape((1,) * (outputs.ndim - 1) + (-1,))
    others = jnp.where(classes == labels[..., None], -jnp.inf, outputs)
    return take_labelled(outputs, labels) - jax.nn.logsumexp(others, axis=-1)
