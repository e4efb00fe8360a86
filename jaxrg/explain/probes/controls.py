"""What keeps a probe from learning the task by itself: random labels of the same kind, code lengths, low ranks."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_integers, check_key, check_number, check_shape
from jaxrg.explain.probes.logistic import LogisticProbes, as_classes, as_penalties, as_samples, fit
from jaxrg.explain.probes.scores import as_probes

SHARES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)  # of the samples, as published


def control_labels(key: Array, labels: ArrayLike, types: ArrayLike) -> Array:
    """Labels of a control task: one for each type of sample, drawn from the labels there are.

    Only by remembering types can it be learnt. The accuracy of a probe less that on its control task is its
    selectivity. Give the samples to fit to and those held out together, so that a type has one label in both.

    Args:
        key: typed key; another one is another control task.
        labels: ``[num_samples]`` of the true task.
        types: integers ``[num_samples]`` that say which samples are of one kind, as the word of a token.

    Returns:
        int32 ``[num_samples]``.

    Raises:
        ValueError: shapes that do not fit, or no integers.

    Example:
        >>> found = control_labels(jax.random.key(0), [0, 1, 2, 0, 1, 2], [7, 7, 8, 8, 9, 9])
        >>> bool(jnp.all(found[::2] == found[1::2]))
        True

    Reference:
        Hewitt & Liang, EMNLP 2019, arXiv:1909.03368.
    """
    check_key("key", key)
    true, kinds = as_integers("labels", labels), as_integers("types", types)
    if true.ndim != 1 or not true.size:
        raise ValueError(f"labels: expected shape (num_samples,) with samples, got {tuple(true.shape)}")
    check_shape("types", kinds, true.shape)
    return _control_labels(key, true.astype(jnp.int32), kinds)


@jax.jit
def _control_labels(key: Array, labels: Array, types: Array) -> Array:
    order = jnp.argsort(types)
    is_new = jnp.diff(types[order], prepend=types[order][:1]) != 0
    number = jnp.zeros_like(labels).at[order].set(jnp.cumsum(is_new.astype(jnp.int32)))
    return jax.random.choice(key, labels, labels.shape)[number]


class CodeLength(NamedTuple):
    """Nats that it takes to send the labels to someone who has the features."""

    total: float  # by the mixture of all penalties
    by_penalty: np.ndarray  # [num_penalties], each by itself
    uniform: float  # with equal probabilities of all classes; over the total it is the compression
    ends: np.ndarray  # int [num_blocks] samples sent at the end of each block; the first is sent uniformly
    blocks: np.ndarray  # [num_blocks, num_penalties] nats of each block


def code_length(
    key: Array,
    features: ArrayLike,
    labels: ArrayLike,
    penalties: ArrayLike | Sequence[float],
    *,
    tolerance: float = 1e-6,
) -> CodeLength:
    r"""Minimum description length of a task by a linear probe: the online code of its labels, block by block.

    .. math:: L = n_1 \ln K - \sum_{b \ge 1} \sum_{i = n_b + 1}^{n_{b+1}} \ln p_b(y_i | x_i), \qquad
        L_{mix} = -\ln \frac1m \sum_{\lambda} e^{-L_\lambda} \le \min_\lambda L_\lambda + \ln m

    Each :math:`p_b` is a probe fitted to all samples sent before. A probe that reads well from few samples has a short
    code, one that has to learn the task a long one. The mixture needs no choice of a penalty and no held-out set. With
    an infinite penalty alone this is the code of someone without the features.

    Args:
        key: typed key, of the order in which samples are sent.
        features: ``[num_samples, ...]``, events flattened.
        labels: ``[num_samples]`` of K classes.
        penalties: of `logistic_probes`.
        tolerance: of the objective of each fit, in nats.

    Returns:
        `CodeLength`. Blocks end at 0.1, 0.2, 0.4, ..., 50 and 100 % of the samples; the first one, which is sent
        uniformly, is as long as it takes until there are samples of all classes and an end of a block.

    Raises:
        ValueError: as `logistic_probes`.

    Example:
        >>> labels = np.arange(200) % 2
        >>> found = code_length(jax.random.key(0), 2.0 * labels[:, None], labels, [0.01])
        >>> bool(found.total < found.uniform / 5)
        True

    Reference:
        Voita & Titov, EMNLP 2020, arXiv:2003.12298; Blier & Ollivier, NeurIPS 2018, arXiv:1802.07044.
    """
    check_key("key", key)
    samples = as_samples("features", features)
    classes = as_classes("labels", labels, len(samples))
    strengths = as_penalties("penalties", penalties)
    check_number("tolerance", tolerance, above=0.0)
    size, num_classes = len(samples), int(classes.max()) + 1
    order = np.asarray(jax.random.permutation(key, size))
    samples, classes = samples[order], classes[order]
    all_seen = max(int(np.argmax(classes == each)) for each in range(num_classes)) + 1
    ends = np.unique([round(share * size) for share in SHARES])
    ends = ends[ends >= min(all_seen, size)]
    blocks = [np.full(len(strengths), ends[0] * np.log(num_classes))]
    for first, last in itertools.pairwise(ends):
        probes = fit(samples[:first], classes[:first], strengths, float(tolerance))
        logits = samples[first:last].astype(np.float64) @ probes.weights + probes.bias[:, None, :]
        chosen = np.take_along_axis(logits, classes[None, first:last, None], axis=-1)[..., 0]
        blocks.append((np.logaddexp.reduce(logits, axis=-1) - chosen).sum(axis=-1))
    by_penalty = np.sum(blocks, axis=0)
    total = np.log(len(strengths)) - np.logaddexp.reduce(-by_penalty)
    return CodeLength(float(total), by_penalty, size * float(np.log(num_classes)), ends, np.stack(blocks))


def rank_limited_probes(
    probes: LogisticProbes, features: ArrayLike, labels: ArrayLike, rank: int, *, tolerance: float = 1e-10
) -> LogisticProbes:
    r"""Probes whose logits depend on the features through ``rank`` numbers.

    Those are the directions along which the logits of given probes vary most on the samples, the first eigenvectors V
    of their covariance, :math:`x \mapsto V^T W^T x`. The best weights on them are found anew, to their certified
    optimum. Whether others of that rank are better is not known, as their objective is not convex.

    Args:
        probes: of `logistic_probes` of the same samples, without an infinite penalty.
        features: ``[num_samples, ...]`` fitted to.
        labels: ``[num_samples]``.
        rank: from 1; at one below the number of classes and above nothing is limited.
        tolerance: gap that is enough, in nats.

    Returns:
        `LogisticProbes` of the same penalties; the gap is that to the best probe on the same directions.

    Raises:
        ValueError: as `logistic_probes`, a rank above the number of classes, or weights of zero.

    Example:
        >>> features, labels = np.eye(3).repeat(4, axis=0), np.arange(3).repeat(4)
        >>> from jaxrg.explain.probes import logistic_probes
        >>> limited = rank_limited_probes(logistic_probes(features, labels, 0.1), features, labels, 1)
        >>> int(np.linalg.matrix_rank(limited.weights[0], tol=1e-6))
        1

    Reference:
        Hewitt & Liang, EMNLP 2019, arXiv:1909.03368 (rank as what limits a probe).
    """
    samples = as_samples("features", features)
    as_probes("probes", probes, LogisticProbes, samples.shape[1])
    weights = np.asarray(probes.weights, np.float64)
    as_integers("rank", rank, minimum=1, maximum=weights.shape[-1])
    if not np.isfinite(weights).all() or not np.any(weights, axis=(1, 2)).all():
        raise ValueError("probes: expected finite weights that are not all zero, as those of an infinite penalty are")
    classes, strengths = as_classes("labels", labels, len(samples)), as_penalties("probes.penalties", probes.penalties)
    check_number("tolerance", tolerance, above=0.0)
    host, found = samples.astype(np.float64), []
    for full, penalty in zip(weights, strengths, strict=True):
        _, basis = np.linalg.eigh(np.cov(host @ full, rowvar=False))
        directions = np.linalg.qr(full @ basis[:, ::-1][:, : int(rank)])[0]
        part = fit(host @ directions, classes, penalty[None], float(tolerance))
        found.append(part._replace(weights=directions @ part.weights))
    return LogisticProbes(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
