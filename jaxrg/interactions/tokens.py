"""Games over texts: which tokens are players, and texts that absent tokens are removed from.

A mask token needs no function of its own: it is the ``baseline`` of `masked_game`. Padding is never a player.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.checks import as_integers, check_function, check_shape, is_traced
from jaxrg.closures import as_partial
from jaxrg.interactions.games import Game, game
from jaxrg.interactions.masking import ALWAYS_PRESENT, as_assignment, num_players_of


def tokens(token_ids: ArrayLike, *, not_players: ArrayLike | Sequence[int] = ()) -> np.ndarray:
    """Each token of a text is a player, but for those that are always there, as padding and the ends of a text are.

    Args:
        token_ids: ``int[length]``, known before anything is compiled.
        not_players: ids of the tokens that are no players.

    Returns:
        The assignment ``int[length]`` for `masked_game` and `token_game`.

    Example:
        >>> tokens([101, 7, 9, 7, 102, 0, 0], not_players=[101, 102, 0]).tolist()
        [-1, 0, 1, 2, -1, -1, -1]
    """
    if is_traced((token_ids, not_players)):
        raise ValueError("token_ids: expected integers that are known before compilation, got a traced array")
    ids, others = np.asarray(as_integers("token_ids", token_ids)), np.asarray(not_players)
    others = np.asarray(as_integers("not_players", others)) if others.size else others
    if ids.ndim != 1:
        raise ValueError(f"token_ids: expected one text [length], got shape {ids.shape}")
    is_player = ~np.isin(ids, others)
    return np.where(is_player, np.cumsum(is_player) - 1, ALWAYS_PRESENT)


def _shortened(masks: Array, token_ids: Array, padding: Array, assignment: Array) -> Array:
    """The tokens that are there, in their order, then padding."""
    extended = jnp.concatenate([masks, jnp.ones((len(masks), 1), jnp.bool_)], axis=-1)
    is_there = extended[:, assignment] & (token_ids != padding)[None]
    kept = token_ids[jnp.argsort(~is_there, axis=-1, stable=True)]
    is_text = jnp.arange(len(token_ids))[None] < jnp.sum(is_there, axis=-1, dtype=jnp.int32)[:, None]
    return jnp.where(is_text, kept, padding)


def _token_score(
    model: Callable, score: Callable, token_ids: Array, padding: Array, assignment: Array, masks: Array
) -> Array:
    return score(model(_shortened(masks, token_ids, padding, assignment)))


def token_game(
    model: Callable[[Array], Array],
    token_ids: ArrayLike,
    *,
    padding: ArrayLike,
    assignment: ArrayLike,
    score: Callable[[Array], Array],
) -> Game:
    r"""The game of a model on one text: absent tokens are removed, the others move up, and padding fills the end.

    Args:
        model: ``outputs = model(token_ids[batch, length])``, which tells padding by its id.
        token_ids: ``int[length]``, with padding after the text only.
        padding: id of the padding token.
        assignment: players of the tokens, of `tokens` or of one's own: several tokens of a word may be one player.
        score: ``values[batch] = score(outputs)``.

    Example:
        >>> text = jnp.array([4, 2, 5, 0])
        >>> game = token_game(lambda ids: ids[:, 0], text, padding=0, assignment=tokens(text, not_players=[0]),
        ...     score=lambda first: first)
        >>> game(jnp.array([[False, True, True], [False, False, False]])).tolist()
        [2, 0]
    """
    check_function("model", model, of="a batch of texts")
    check_function("score", score, of="outputs")
    ids, pad, players = as_integers("token_ids", token_ids), as_integers("padding", padding), as_assignment(assignment)
    if ids.ndim != 1:
        raise ValueError(f"token_ids: expected one text [length], got shape {ids.shape}")
    check_shape("padding", pad, ())
    check_shape("assignment", players, ids.shape)
    if not is_traced((ids, pad)):
        is_padding = np.asarray(ids) == int(pad)
        if np.any(is_padding & (players != ALWAYS_PRESENT)):
            raise ValueError(f"assignment: expected no player that holds padding, got {players.tolist()}")
        if np.any(is_padding[:-1] & ~is_padding[1:]):
            raise ValueError(f"token_ids: expected padding after the text only, got {np.asarray(ids).tolist()}")
    parts = as_partial(model), as_partial(score), ids, pad.astype(ids.dtype), jnp.asarray(players.astype(np.int32))
    return game(Partial(_token_score, *parts), num_players_of(players))
