"""Names of players: one text each, no two alike."""

import jax.numpy as jnp
import pytest

from jaxrg import interactions


@pytest.mark.parametrize("names", [[1, 2], ["a", "a"], "ab", ["a", None]])
def test_names_are_different_texts(names) -> None:
    with pytest.raises(ValueError, match="names: expected a different text for each player"):
        interactions.label_table(jnp.array([0.0, 1.0, 2.0, 4.0]), names=names)
