"""Whether a network uses what a probe reads: move or erase it, and run the rest of the network."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxrg.base import PyTree, safe_divide
from jaxrg.checks import as_floating, as_floating_alike, check_function
from jaxrg.closures import as_partial
from jaxrg.explain.probes.ridge import as_matrices, principal


class Eraser(NamedTuple):
    """Affine map of hidden values after which no linear function of them knows of a concept."""

    mean: Array  # [num_features]
    readers: Array  # [num_features, num_targets] what is read of a sample
    directions: Array  # [num_features, num_targets] and what is taken away for it


def concept_eraser(features: ArrayLike, targets: ArrayLike) -> Eraser:
    r"""The smallest change of hidden values after which no linear function of them is correlated with the targets.

    .. math:: x \mapsto x - W^+ P W (x - \bar x), \qquad W = \Sigma_{xx}^{-1/2}

    where P projects onto the range of :math:`W \Sigma_{xy}`. Of all affine maps that make the covariance with the
    targets zero it has the smallest mean square change. For ``jax.nn.one_hot`` labels the best linear classifier of
    what is left is chance, whatever its convex loss: iterations that project out one probe after the other end where
    this begins.

    Args:
        features: ``[num_samples, ...]``, events flattened.
        targets: ``[num_samples]`` or ``[num_samples, num_targets]`` numbers, one-hot vectors for classes.

    Returns:
        `Eraser`, for `erase`. Directions in which the samples do not vary are left alone.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> features = jax.random.normal(jax.random.key(0), (50, 3))
        >>> erased = erase(concept_eraser(features, features[:, 0] - features[:, 1]), features)
        >>> bool(jnp.abs(jnp.cov((erased[:, 0] - erased[:, 1]), features[:, 2])[0, 0]) < 1e-6)
        True

    Reference:
        Belrose et al., NeurIPS 2023, arXiv:2306.03819 (LEACE); Ravfogel et al., ACL 2020, arXiv:2004.07667 (by
        iterated projections).
    """
    return _concept_eraser(*as_matrices(features=features, targets=targets))


@jax.jit
def _concept_eraser(inputs: Array, targets: Array) -> Eraser:
    mean, left, singular, right = principal(inputs)
    centred = targets - jnp.mean(targets, axis=0)[None]
    within = jnp.matmul(left.T, centred, precision="highest")
    within = jnp.where(singular[:, None] > 0, within, 0 * singular[:, None])
    basis, sizes, _ = jnp.linalg.svd(within, full_matrices=False)
    least = max(inputs.shape) * jnp.finfo(inputs.dtype).eps * jnp.sqrt(jnp.sum(jnp.square(centred)))
    basis = jnp.where((sizes > least) | jnp.isnan(sizes), basis, 0)
    readers = jnp.matmul(right.T, safe_divide(basis, singular[:, None]), precision="highest")
    return Eraser(mean, readers, jnp.matmul(right.T, basis * singular[:, None], precision="highest"))


def erase(eraser: Eraser, hidden: ArrayLike) -> Array:
    """Hidden values ``[num_samples, ...]`` with what `concept_eraser` found taken away, in the same shape.

    What a network makes of them, beside what it makes of values from which as many random targets were erased, says
    whether it uses the concept: ``tail(erase(eraser, hidden))``.

    Raises:
        ValueError: no `Eraser`, or one of another number of features.
    """
    if not isinstance(eraser, Eraser):
        raise ValueError(f"eraser: expected an Eraser, got a {type(eraser).__name__}")
    parts = as_floating_alike(hidden=hidden, mean=eraser.mean, readers=eraser.readers, directions=eraser.directions)
    width = parts[1].shape[-1]
    if not parts[0].ndim or not parts[0].size or parts[0].size != len(parts[0]) * width:
        raise ValueError(f"hidden: expected {width} features of every sample, got shape {tuple(parts[0].shape)}")
    return _erase(*parts)


@jax.jit
def _erase(hidden: Array, mean: Array, readers: Array, directions: Array) -> Array:
    flat = hidden.reshape(len(hidden), -1)
    read = jnp.matmul(flat - mean[None], readers, precision="highest")
    return (flat - jnp.matmul(read, directions.T, precision="highest")).reshape(hidden.shape)


def intervene(
    tail: Callable[[Array], PyTree], hidden: ArrayLike, directions: ArrayLike, amounts: ArrayLike | Sequence[float]
) -> PyTree:
    r"""What the rest of a network makes of hidden values that are moved along directions.

    .. math:: \mathrm{tail}(h + a\, d / \|d\|)

    A probe says that a direction can be read; whether it is used shows in the outputs, beside those of random
    directions moved by the same amounts. Random ones that the samples vary along as much as they do along any are
    ``jax.random.normal(key, (num, len(hidden))) @ (hidden - hidden.mean(0))``.

    Args:
        tail: a function of hidden values ``[num_samples, *event]``, any tree of arrays.
        hidden: ``[num_samples, *event]``.
        directions: ``[num_directions, *event]``, of any length but zero.
        amounts: ``[num_amounts]`` lengths of the move, or one number.

    Returns:
        The outputs with axes ``[num_directions, num_amounts]`` in front; NaN for a direction of length zero.

    Raises:
        ValueError: no function, or shapes that do not fit.

    Example:
        >>> intervene(lambda h: h[:, 0], jnp.zeros((1, 2)), [[3.0, 4.0], [0.0, 1.0]], [0.0, 5.0]).tolist()
        [[[0.0], [3.0]], [[0.0], [0.0]]]

    Reference:
        Giulianelli et al., BlackboxNLP 2018, arXiv:1808.08079; Elazar et al., TACL 2021, arXiv:2006.00995.
    """
    check_function("tail", tail, of="hidden values [num_samples, *event]")
    values, along = as_floating_alike(hidden=hidden, directions=directions)
    lengths = as_floating("amounts", amounts)
    if not values.ndim or not values.size:
        raise ValueError(f"hidden: expected [num_samples, ...] with entries, got shape {tuple(values.shape)}")
    if along.ndim != values.ndim or along.shape[1:] != values.shape[1:] or not len(along):
        expected = ", ".join(["num_directions", *map(str, values.shape[1:])])
        raise ValueError(f"directions: expected [{expected}], got shape {tuple(along.shape)}")
    if lengths.ndim > 1 or not lengths.size:
        raise ValueError(f"amounts: expected one or more numbers, got shape {tuple(lengths.shape)}")
    return _intervene(as_partial(tail), values, along, lengths.reshape(-1).astype(values.dtype))


@jax.jit
def _intervene(tail: Any, hidden: Array, directions: Array, amounts: Array) -> PyTree:
    axes = tuple(range(1, directions.ndim))
    steps = directions / jnp.sqrt(jnp.sum(jnp.square(directions), axis=axes, keepdims=True))
    moves = jnp.expand_dims(steps, 1) * amounts.reshape((1, len(amounts)) + (1,) * len(axes))
    flat = moves.reshape((-1, 1, *moves.shape[2:]))
    outputs = jax.lax.map(lambda move: tail(hidden + move), flat)
    return jax.tree.map(lambda leaf: leaf.reshape(moves.shape[:2] + leaf.shape[1:]), outputs)
