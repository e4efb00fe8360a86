"""Every kind of game through the same contract: its values by definition, any chunks, interactions that match."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import equinox
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.linear_model import LogisticRegression

from jaxrg import interactions, nets

N = 4
MASKS = (np.arange(2**N)[:, None] >> np.arange(N)) & 1 == 1
SAMPLE = np.array([0.3, -1.2, 0.7, 2.0], np.float32)
MEAN = np.array([0.1, 0.2, -0.3, 0.4], np.float32)
BACKGROUNDS = np.stack([MEAN, -MEAN, 2 * MEAN])
LOG_ODDS = functools.partial(interactions.log_odds, label=1)


class Row(NamedTuple):
    """A game of four players with all that is known of it."""

    game: interactions.Game
    values: Callable[[np.ndarray], np.ndarray]  # of masks bool[16, 4], by its definition
    and_: dict[int, float] | None = None  # dividends that are not zero, where they are known
    or_: dict[int, float] | None = None
    is_on_host: bool = False


class Linen(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, inputs):
        return flax.linen.Dense(3)(jnp.tanh(flax.linen.Dense(5)(inputs)))


def masked(model, baseline=MEAN, score=LOG_ODDS) -> Row:
    """A model whose definition is the mean score over backgrounds of inputs with the absent entries replaced."""
    assignment = interactions.features(N)
    game = interactions.masked_game(model, SAMPLE, baseline=baseline, assignment=assignment, score=score)

    def values(masks: np.ndarray) -> np.ndarray:
        scores = jax.jit(lambda batch: score(model(batch)))
        inputs = [np.where(masks, SAMPLE, background) for background in np.atleast_2d(baseline)]
        return np.mean([scores(batch) for batch in inputs], axis=0)

    return Row(game, values)


def linen() -> Row:
    model = Linen()
    return masked(functools.partial(model.apply, jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, N)))))


def plain_net() -> Row:
    net = nets.mlp((5, 3))
    return masked(functools.partial(net.apply, net.init(jax.random.key(3), jnp.zeros((1, N)))))


def lookup() -> Row:
    values, places = jax.random.normal(jax.random.key(0), (2**N,)), jnp.asarray(2 ** np.arange(N), jnp.int32)
    fn = jax.tree_util.Partial(lambda table, masks: table[masks.astype(jnp.int32) @ places], values)
    return Row(interactions.game(fn, N), lambda masks: np.asarray(values)[masks @ 2 ** np.arange(N)])


def gate(players: list[int], combine: str) -> Row:
    """1 if all of the players are present, or any of them."""
    subset = {sum(1 << player for player in players): 1.0}
    game = interactions.game(lambda masks: getattr(masks[:, np.array(players)], combine)(-1).astype(jnp.float32), N)
    is_and = combine == "all"
    return Row(
        game,
        lambda masks: np.array([getattr(mask[players], combine)() for mask in masks], float),
        and_=subset if is_and else None,
        or_=None if is_and else subset,
    )


def classifier() -> Row:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(50, N))
    model = LogisticRegression().fit(inputs, inputs[:, 0] > 0)

    def decide(masks: np.ndarray) -> np.ndarray:
        return model.decision_function(np.where(masks, inputs[0], 0.0))

    dividends = {1 << player: float(model.coef_[0, player] * inputs[0, player]) for player in range(N)}
    dividends |= {0: float(model.intercept_[0])}
    game = interactions.game(decide, N)
    return Row(
        game,
        lambda masks: np.array([decide(mask[None])[0] for mask in masks]),
        and_=dividends,
        or_=dividends,
        is_on_host=True,
    )


# Adding a kind of game is adding a row.
GAMES = {
    "lookup": lookup,
    "conjunction": lambda: gate([0, 2], "all"),
    "disjunction": lambda: gate([0, 2], "any"),
    "linen": linen,
    "nnx": lambda: masked(nnx.Linear(N, 3, rngs=nnx.Rngs(1))),
    "equinox": lambda: masked(jax.vmap(equinox.nn.MLP(N, 3, 5, 1, key=jax.random.key(2)))),
    "net": plain_net,
    "function": lambda: masked(lambda inputs: jnp.sin(inputs)[:, :3] * inputs[:, 1:]),
    "backgrounds": lambda: masked(lambda inputs: jnp.sin(inputs)[:, :3] * inputs[:, 1:], BACKGROUNDS),
    "scikit-learn": classifier,
}
row_of = functools.cache(lambda name: GAMES[name]())
JITTED = jax.jit(interactions.evaluate, static_argnames="chunk_size")


def table_of(row: Row, **options) -> np.ndarray:
    evaluate = interactions.evaluate_on_host if row.is_on_host else JITTED
    return np.asarray(evaluate(row.game, **options))


@pytest.mark.parametrize("name", GAMES)
def test_the_table_holds_every_value_whatever_the_chunks(name):
    row = row_of(name)
    table = table_of(row)
    np.testing.assert_allclose(table, row.values(MASKS), rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(table_of(row, chunk_size=4), table, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(row.game(MASKS if row.is_on_host else jnp.asarray(MASKS)), table, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", GAMES)
def test_interactions_are_those_that_are_known_and_match_the_game(name):
    row = row_of(name)
    table = table_of(row).astype(np.float32)
    for transform, inverse, known in (
        (interactions.harsanyi, interactions.from_harsanyi, row.and_),
        (interactions.harsanyi_or, interactions.from_harsanyi_or, row.or_),
    ):
        dividends = transform(table)
        np.testing.assert_allclose(inverse(dividends), table, atol=1e-5)
        if known is not None:
            expected = [known.get(subset, 0.0) for subset in range(2**N)]
            np.testing.assert_allclose(dividends, expected, atol=2e-6)


@pytest.mark.parametrize("name", [name for name in GAMES if name != "scikit-learn"])
def test_a_game_is_a_pytree_whose_second_call_compiles_nothing(name):
    row = row_of(name)
    leaves, tree = jax.tree.flatten(row.game)
    moved = jax.tree.unflatten(
        tree, [leaf + 1 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf for leaf in leaves]
    )
    evaluate = jax.jit(lambda game: interactions.evaluate(game))
    tables = [np.asarray(evaluate(game)) for game in (row.game, moved)]
    assert evaluate._cache_size() == 1
    assert moved.num_players == N
    np.testing.assert_allclose(tables[1], moved(jnp.asarray(MASKS)), rtol=1e-5, atol=1e-5)
