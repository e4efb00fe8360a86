"""Players of an input: which entries each one holds, and what takes their place when it is absent.

Players are an integer array, the *assignment*: its entry says which player holds that entry of the input, and
``ALWAYS_PRESENT`` that none does. Its shape is that of the input, or of the input's leading axes: one row of tokens for
``[tokens, embedding]``, one image for ``[rows, columns, channels]`` or for a feature map.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.checks import as_array, as_count, as_floating, check_function, is_traced, kind_of
from jaxrg.closures import as_partial
from jaxrg.interactions.games import Game, game

ALWAYS_PRESENT = -1


def features(num_features: int) -> np.ndarray:
    """Each entry of a vector, or each token of a sequence, is a player.

    Example:
        >>> features(3).tolist()
        [0, 1, 2]
    """
    return np.arange(as_count("num_features", num_features, minimum=0))


def patches(image_shape: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """Rectangles of a grid as players, row by row; sides that the grid does not divide give unequal patches.

    Example:
        >>> patches((2, 4), (1, 2)).tolist()
        [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    sides, parts = (_two_counts(name, value) for name, value in (("image_shape", image_shape), ("grid", grid)))
    if parts[0] > sides[0] or parts[1] > sides[1]:
        raise ValueError(f"grid: expected at most {sides} patches, got {parts}")
    rows, columns = (np.arange(side) * part // side for side, part in zip(sides, parts, strict=True))
    return rows[:, None] * parts[1] + columns


def _two_counts(name: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str) or len(value) != 2:
        raise ValueError(f"{name}: expected (rows, columns) of the image, got {value!r}")
    return as_count(name, value[0]), as_count(name, value[1])


def segments(labels: ArrayLike) -> np.ndarray:
    """Superpixels as players: any integer labels, renumbered 0, 1, ... in increasing order."""
    host = _as_host_integers("labels", labels)
    return np.unique(host, return_inverse=True)[1].reshape(host.shape)


def _as_host_integers(name: str, value: Any) -> np.ndarray:
    """Integers that are known before anything is compiled; an empty list is one of them."""
    if is_traced(value):
        raise ValueError(f"{name}: expected integers that are known before compilation, got a traced array")
    host = np.asarray(as_array(name, value))
    if not np.issubdtype(host.dtype, np.integer) and host.size:
        raise ValueError(f"{name}: expected integers, got {kind_of(value)}")
    return host.astype(np.int64)


def keep_players(assignment: ArrayLike, players: ArrayLike) -> np.ndarray:
    """Only some players, renumbered in the given order; the entries of all others are always present."""
    old, chosen = as_assignment(assignment), _as_host_integers("players", players)
    is_player = np.isin(chosen, old) & (chosen != ALWAYS_PRESENT)
    if chosen.ndim != 1 or len(np.unique(chosen)) != len(chosen) or not is_player.all():
        raise ValueError(f"players: expected distinct players of {num_players_of(old)}, got {chosen.tolist()}")
    kept = np.full(old.shape, ALWAYS_PRESENT)
    for new, player in enumerate(chosen):
        kept[old == player] = new
    return kept


def as_assignment(assignment: ArrayLike) -> np.ndarray:
    """Players of the entries as an array of NumPy, whose entries cover 0 ... n-1 besides `ALWAYS_PRESENT`."""
    host = _as_host_integers("assignment", assignment)
    present = np.unique(host)
    present = present[present != ALWAYS_PRESENT]
    if not np.array_equal(present, np.arange(len(present))):
        raise ValueError(f"assignment: expected integers 0 ... n-1 and {ALWAYS_PRESENT}, got {present.tolist()}")
    return host


def num_players_of(assignment: ArrayLike) -> int:
    """Number of players of an assignment, whose entries must cover 0 ... n-1 besides `ALWAYS_PRESENT`."""
    return int(as_assignment(assignment).max(initial=ALWAYS_PRESENT)) + 1


def check_inputs(sample: Any, baseline: Any, assignment: np.ndarray) -> None:
    """Raise ValueError unless the shapes belong together; a baseline may have one more leading axis."""
    if assignment.shape != sample.shape[: assignment.ndim]:
        raise ValueError(
            f"assignment: expected the leading axes of the sample's shape {sample.shape}, got {assignment.shape}"
        )
    is_set = baseline.ndim == sample.ndim + 1 and baseline.shape[1:] == sample.shape and len(baseline)
    if baseline.shape not in ((), sample.shape) and not is_set:
        raise ValueError(f"baseline: expected shape {sample.shape} or a set of such, got {baseline.shape}")


def _of_one_dtype(sample: ArrayLike, baseline: ArrayLike) -> tuple[Array, Array]:
    """Integers as they are, as tokens are, unless the other one has fractions."""
    arrays = as_array("sample", sample), as_array("baseline", baseline)
    floating = [array.dtype for array in arrays if jnp.issubdtype(array.dtype, jnp.floating)]
    if floating:
        widest = max((jnp.dtype(jnp.float32), *floating), key=lambda dtype: dtype.itemsize)
        arrays = as_floating("sample", arrays[0]), as_floating("baseline", arrays[1])
    else:
        widest = jax.dtypes.canonicalize_dtype(np.promote_types(arrays[0].dtype, arrays[1].dtype))
    return jax.lax.convert_element_type(arrays[0], widest), jax.lax.convert_element_type(arrays[1], widest)


def apply_masks(masks: ArrayLike, sample: ArrayLike, baseline: ArrayLike, assignment: ArrayLike) -> Array:
    """The sample where its player is present, the baseline, of the same shape or one number, elsewhere.

    Returns:
        ``[..., *sample.shape]`` for masks ``bool[..., n]``.
    """
    players, present = as_assignment(assignment), as_masks(masks, num_players_of(assignment))
    shown, hidden = _of_one_dtype(sample, baseline)
    check_inputs(shown, hidden, players)
    if hidden.ndim > shown.ndim:
        raise ValueError(f"baseline: expected shape {shown.shape}, got {hidden.shape}")
    return _apply_masks(present, shown, hidden, players)


def as_masks(masks: ArrayLike, num_players: int) -> Array:
    """Masks as ``bool[..., n]``; ValueError for another number of players, or what is not boolean."""
    present = as_array("masks", masks)
    if present.dtype != jnp.bool_:
        raise ValueError(f"masks: expected booleans, got {kind_of(masks)}")
    if present.ndim == 0 or present.shape[-1] != num_players:
        raise ValueError(
            f"masks: expected the {num_players} players of the assignment along the last axis, got {present.shape}"
        )
    return present


@jax.jit
def _apply_masks(masks: Array, sample: Array, baseline: Array, assignment: Array) -> Array:
    return _masked(masks, sample, jnp.broadcast_to(baseline, sample.shape), assignment)


def _masked(masks: Array, sample: Array, baseline: Array, assignment: Array | np.ndarray) -> Array:
    # The extra last entry belongs to no player and is always there; -1 reads it.
    extended = jnp.concatenate([masks, jnp.ones((*masks.shape[:-1], 1), jnp.bool_)], axis=-1)
    is_present = extended[..., assignment]
    is_present = is_present.reshape(is_present.shape + (1,) * (sample.ndim - assignment.ndim))
    lead = (1,) * (masks.ndim - 1)
    return jnp.where(is_present, sample.reshape(lead + sample.shape), baseline.reshape(lead + sample.shape))


def _masked_score(
    model: Callable, score: Callable, sample: Array, baseline: Array, assignment: Array, masks: Array
) -> Array:
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
    assignment: ArrayLike,
    score: Callable[[Array], Array],
) -> Game:
    r"""The game of a model on one input: :math:`v(S) = \mathrm{score}(\mathrm{model}(x_S))`.

    Sample, baseline and the arrays bound by a `jax.tree_util.Partial` are leaves of the game: a compiled function of it
    serves all samples.

    Args:
        model: ``outputs = model(inputs[batch, ...])``: a flax or equinox model, or any function of a batch.
        sample: one input x.
        baseline: what absent players show, of the sample's shape or one number for all entries; with one more leading
            axis a set of backgrounds, over which the score is averaged.
        assignment: players of the entries (`features`, `patches`, `segments`, ...).
        score: ``values[batch] = score(outputs)``, such as ``functools.partial(log_odds, label=3)``.

    Example:
        >>> game = masked_game(lambda x: x.sum(-1), jnp.array([1.0, 2.0]), baseline=jnp.zeros(2),
        ...     assignment=features(2), score=lambda outputs: outputs)
        >>> game(jnp.array([[True, False], [True, True]])).tolist()
        [1.0, 3.0]
    """
    check_function("model", model, of="a batch of inputs")
    check_function("score", score, of="outputs")
    players = as_assignment(assignment)
    shown, hidden = _of_one_dtype(sample, baseline)
    check_inputs(shown, hidden, players)
    if hidden.ndim == 0:
        hidden = jnp.broadcast_to(hidden, shown.shape)
    parts = as_partial(model), as_partial(score), shown, hidden, jnp.asarray(players.astype(np.int32))
    return game(Partial(_masked_score, *parts), num_players_of(players))
