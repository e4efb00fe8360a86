"""What games are made of here: players that are static, and values whatever numbers these are."""

from typing import Any, NamedTuple

import numpy as np
from jax import Array

from jaxrg.checks import as_floating
from jaxrg.interactions.games import Game, check_values
from jaxrg.interactions.masking import as_assignment


class StaticAssignment(NamedTuple):
    """Players of the entries as a static argument."""

    content: bytes
    shape: tuple[int, ...]

    @classmethod
    def of(cls, assignment: Any) -> "StaticAssignment":
        players = as_assignment(assignment).astype(np.int64)
        return cls(players.tobytes(), players.shape)

    @property
    def array(self) -> np.ndarray:
        return np.frombuffer(self.content, np.int64).reshape(self.shape)


def values_of(game: Game, masks: Array) -> Array:
    """One floating value ``[batch]`` for each of the masks ``bool[batch, n]``; counts and yes or no are numbers too."""
    values = game(masks)
    check_values(values, masks.shape[0])
    return as_floating("game", values)
