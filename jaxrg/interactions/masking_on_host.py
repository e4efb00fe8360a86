"""Games of models that are no JAX functions, masked by NumPy: scikit-learn estimators, networks of other libraries."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from jaxrg.checks import check_function, kind_of
from jaxrg.interactions.games import Game, check_values
from jaxrg.interactions.masking import as_assignment, check_inputs, num_players_of


class _MaskedModel:
    """Values of masks by a model that is called with NumPy's arrays."""

    def __init__(self, model: Callable, score: Callable, sample: np.ndarray, baseline: np.ndarray, players: np.ndarray):
        self.model, self.score, self.sample, self.players = model, score, sample, players
        self.backgrounds = baseline if baseline.ndim > sample.ndim else baseline[None]

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        # The extra last entry belongs to no player and is always there; -1 reads it.
        extended = np.concatenate([masks, np.ones((len(masks), 1), bool)], axis=1)
        is_present = extended[:, self.players]
        is_present = is_present.reshape(is_present.shape + (1,) * (self.sample.ndim - self.players.ndim))
        total = np.zeros(len(masks))
        for background in self.backgrounds:
            values = np.asarray(self.score(self.model(np.where(is_present, self.sample, background))))
            check_values(values, len(masks))
            total += values
        return total / len(self.backgrounds)


def _as_host(name: str, value: Any) -> np.ndarray:
    """An array of NumPy of any type; a list must not need one of objects."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array, got a ragged {type(value).__name__}") from error
    if array.dtype == object and not isinstance(value, np.ndarray):
        raise ValueError(f"{name}: expected an array, got {kind_of(value)}")
    return array


def masked_game_on_host(
    model: Callable[[np.ndarray], Any],
    sample: ArrayLike,
    *,
    baseline: ArrayLike,
    assignment: ArrayLike,
    score: Callable[[Any], Any],
) -> Game:
    r"""`masked_game` of a model that is no JAX function; `evaluate_on_host` plays it, and so do sampling and sparse.

    Args:
        model: ``outputs = model(inputs[batch, ...])`` of NumPy's arrays, such as ``forest.predict_log_proba``.
        sample: one input x, of any type the model takes, words among them.
        baseline: what absent players show, of the sample's shape or one number for all entries; with one more leading
            axis a set of backgrounds, such as rows of the training data, over which the score is averaged.
        assignment: players of the entries (`features`, `patches`, `segments`, ...).
        score: ``values[batch] = score(outputs)``, such as ``lambda outputs: outputs[:, 1]``; of log probabilities
            `log_odds` is right too.

    Returns:
        A `Game` of ``masks bool[batch, n]``, whose values are float64.

    Example:
        >>> from jaxrg.interactions import evaluate_on_host, features
        >>> game = masked_game_on_host(lambda inputs: inputs.sum(-1), [1.0, 2.0], baseline=[[0.0, 0.0], [1.0, 1.0]],
        ...     assignment=features(2), score=lambda outputs: outputs)
        >>> evaluate_on_host(game).tolist()
        [1.0, 1.5, 2.5, 3.0]
    """
    check_function("model", model, of="a batch of inputs")
    check_function("score", score, of="outputs")
    players, shown, hidden = as_assignment(assignment), _as_host("sample", sample), _as_host("baseline", baseline)
    check_inputs(shown, hidden, players)
    if hidden.ndim == 0:
        hidden = np.broadcast_to(hidden, shown.shape)
    return Game(_MaskedModel(model, score, shown, hidden, players), num_players_of(players))
