"""What a classifier's outputs are worth: one number per input, from logits ``[..., classes]``."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import is_traced


def logit(outputs: Array, label: ArrayLike) -> Array:
    """The output of one class, ``[...]``; a label, traced or not, that is no class is refused where it can be seen."""
    num_classes = outputs.shape[-1]
    if not is_traced(label) and not (np.min(np.asarray(label)) >= 0 and np.max(np.asarray(label)) < num_classes):
        raise ValueError(f"label: expected a class from 0 to {num_classes - 1}, got {label}")
    return jnp.take(outputs, jnp.asarray(label), axis=-1)


def log_probability(outputs: Array, label: ArrayLike) -> Array:
    r"""Logarithm of the softmax probability, :math:`z_y - \ln\sum_k e^{z_k}`."""
    return logit(outputs, label) - jax.nn.logsumexp(outputs, axis=-1)


def log_odds(outputs: Array, label: ArrayLike) -> Array:
    r"""Log odds of a class, :math:`\ln\frac{p_y}{1-p_y} = z_y - \ln\sum_{k\ne y} e^{z_k}`.

    Never formed from probabilities, which round to 0 or 1 long before the odds lose their meaning.

    Example:
        >>> float(log_odds(jnp.array([3.0, 1.0]), 0))
        2.0

    Reference:
        Deng, Ren, Zhang & Zhang, ICLR 2022, arXiv:2111.06236; Ren, Li, Chen, Deng & Zhang, CVPR 2023,
        arXiv:2111.06206.
    """
    classes = jnp.arange(outputs.shape[-1]).reshape((1,) * (outputs.ndim - 1) + (-1,))
    others = jnp.where(classes == label, -jnp.inf, outputs)
    return logit(outputs, label) - jax.nn.logsumexp(others, axis=-1)
