"""Players of an input: which entries each one holds, and what takes their place when it is absent.

Players are an integer array, the *assignment*: its entry says which player holds that entry of the input, and
``ALWAYS_PRESENT`` that none does. Its shape is that of the input, or of the input's leading axes: one row of tokens for
``[tokens, embedding]``, one image for ``[rows, columns, channels]`` or for a feature map.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.checks import check_count
from jaxrg.closures import as_partial
from jaxrg.interactions.games import Game, game

ALWAYS_PRESENT = -1


def features(num_features: int) -> np.ndarray:
    """Each entry of a vector, or each token of a sequence, is a player.

    Example:
        >>> features(3).tolist()
        [0, 1, 2]
    """
    check_count("num_features", num_features)
    return np.arange(num_features)


def patches(image_shape: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """Rectangles of a grid as players, row by row; sides that the grid does not divide give unequal patches.

    Example:
        >>> patches((2, 4), (1, 2)).tolist()
        [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    for side, parts in zip(image_shape, grid, strict=True):
        check_count("grid", parts)
        if parts > side:
            raise ValueError(f"grid: expected at most {tuple(image_shape)} patches, got {tuple(grid)}")
    rows, columns = (np.arange(side) * parts // side for side, parts in zip(image_shape, grid, strict=True))
    return rows[:, None] * grid[1] + columns


def segments(labels: ArrayLike) -> np.ndarray:
    """Superpixels as players: any integer labels, renumbered 0, 1, ... in increasing order."""
    host = np.asarray(labels)
    if not np.issubdtype(host.dtype, np.integer):
        raise ValueError(f"labels: expected integers, got {host.dtype}")
    return np.unique(host, return_inverse=True)[1].reshape(host.shape)


def keep_players(assignment: np.ndarray, players: Sequence[int] | np.ndarray) -> np.ndarray:
    """Only some players, renumbered in the given order; the entries of all others are always present."""
    chosen = np.asarray(players)
    is_player = np.isin(chosen, assignment) & (chosen != ALWAYS_PRESENT)
    if len(np.unique(chosen)) != len(chosen) or not is_player.all():
        raise ValueError(f"players: expected distinct players of {num_players_of(assignment)}, got {chosen.tolist()}")
    kept = np.full(assignment.shape, ALWAYS_PRESENT)
    for new, old in enumerate(chosen):
        kept[assignment == old] = new
    return kept


def num_players_of(assignment: np.ndarray) -> int:
    """Number of players of an assignment, whose entries must cover 0 ... n-1 besides `ALWAYS_PRESENT`."""
    present = np.unique(assignment)
    present = present[present != ALWAYS_PRESENT]
    if not np.issubdtype(assignment.dtype, np.integer) or not np.array_equal(present, np.arange(len(present))):
        raise ValueError(f"assignment: expected integers 0 ... n-1 and {ALWAYS_PRESENT}, got {present.tolist()}")
    return len(present)


def _check_inputs(sample: Array, baseline: Array, assignment: np.ndarray) -> int:
    """The number of players, after the checks."""
    if assignment.shape != sample.shape[: assignment.ndim]:
        raise ValueError(
            f"assignment: expected the leading axes of the sample's shape {sample.shape}, got {assignment.shape}"
        )
    if baseline.shape[baseline.ndim - sample.ndim :] != sample.shape:
        raise ValueError(f"baseline: expected shape {sample.shape} or a set of such, got {baseline.shape}")
    return num_players_of(assignment)


def apply_masks(masks: Array, sample: Array, baseline: Array, assignment: np.ndarray) -> Array:
    """The sample where its player is present, the baseline of the same shape elsewhere.

    Returns:
        ``[..., *sample.shape]`` for masks ``bool[..., n]``.
    """
    n = _check_inputs(sample, baseline, assignment)
    if baseline.ndim != sample.ndim:
        raise ValueError(f"baseline: expected shape {sample.shape}, got {baseline.shape}")
    if masks.shape[-1] != n:
        raise ValueError(f"masks: expected the {n} players of the assignment along the last axis, got {masks.shape}")
    return _masked(masks, sample, baseline, assignment)


def _masked(masks: Array, sample: Array, baseline: Array, assignment: Array | np.ndarray) -> Array:
    # The extra last entry belongs to no player and is always there; -1 reads it.
    extended = jnp.concatenate([masks, jnp.ones((*masks.shape[:-1], 1), jnp.bool_)], axis=-1)
    is_present = extended[..., assignment]
    is_present = is_present.reshape(is_present.shape + (1,) * (sample.ndim - assignment.ndim))
    lead = (1,) * (masks.ndim - 1)
    return jnp.where(is_present, sample.reshape(lead + sample.shape), baseline.reshape(lead + sample.shape))


def _masked_score(model, score, sample: Array, baseline: Array, assignment: Array, masks: Array) -> Array:
    def value(background: Array) -> Array:
        return score(model(_masked(masks, sample, background, assignment)))

    if baseline.ndim == sample.ndim:
        return value(baseline)
    # One background after another: the memory of a chunk does not grow with their number.
    first, rest = value(baseline[0]), baseline[1:]
    total, _ = jax.lax.scan(lambda total, background: (total + value(background), None), first, rest)
    return total / len(baseline)


def masked_game(
    model: Callable[[Array], Array],
    sample: ArrayLike,
    *,
    baseline: ArrayLike,
    assignment: np.ndarray,
    score: Callable[[Array], Array],
) -> Game:
    r"""The game of a model on one input: :math:`v(S) = \mathrm{score}(\mathrm{model}(x_S))`.

    Sample, baseline and the arrays bound by a `jax.tree_util.Partial` are leaves of the game: a compiled function of it
    serves all samples.

    Args:
        model: ``outputs = model(inputs[batch, ...])``: a flax or equinox model, or any function of a batch.
        sample: one input x.
        baseline: what absent players show, of the sample's shape; with one more leading axis a set of backgrounds,
            over which the score is averaged.
        assignment: players of the entries (`features`, `patches`, `segments`, ...).
        score: ``values[batch] = score(outputs)``, such as ``functools.partial(log_odds, label=3)``.

    Example:
        >>> game = masked_game(lambda x: x.sum(-1), jnp.array([1.0, 2.0]), baseline=jnp.zeros(2),
        ...     assignment=features(2), score=lambda outputs: outputs)
        >>> game(jnp.array([[True, False], [True, True]])).tolist()
        [1.0, 3.0]
    """
    sample, baseline = jnp.asarray(sample), jnp.asarray(baseline)
    n = _check_inputs(sample, baseline, assignment)
    if baseline.ndim > sample.ndim + 1 or baseline.size == 0:
        raise ValueError(f"baseline: expected shape {sample.shape} or one more leading axis, got {baseline.shape}")
    players = jnp.asarray(assignment, jnp.int32)
    return game(Partial(_masked_score, as_partial(model), as_partial(score), sample, baseline, players), n)
