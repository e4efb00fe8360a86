"""Models that are no JAX functions, and texts: the same games, played by their own rules."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

from jaxrg import interactions
from jaxrg.interactions import sampling, sparse

MASKS = (np.arange(16)[:, None] >> np.arange(4)) & 1 == 1


@functools.cache
def forest() -> tuple[RandomForestClassifier, np.ndarray]:
    inputs, labels = load_breast_cancer(return_X_y=True)
    inputs = np.asarray(inputs)[:, :4]
    return RandomForestClassifier(5, max_depth=4, random_state=0).fit(inputs, labels), inputs


def forest_game(baseline) -> interactions.Game:
    model, inputs = forest()
    return interactions.masked_game_on_host(
        model.predict_proba, inputs[3], baseline=baseline, assignment=interactions.features(4), score=lambda p: p[:, 1]
    )


def test_a_forest_is_played_over_its_backgrounds():
    model, inputs = forest()
    table = interactions.evaluate_on_host(forest_game(inputs[10:13]), chunk_size=4)
    expected = np.mean([model.predict_proba(np.where(MASKS, inputs[3], row))[:, 1] for row in inputs[10:13]], axis=0)
    np.testing.assert_allclose(table, expected, rtol=1e-12)
    assert table.dtype == np.float64
    one = interactions.evaluate_on_host(forest_game(inputs[10]))
    np.testing.assert_allclose(one, model.predict_proba(np.where(MASKS, inputs[3], inputs[10]))[:, 1])
    # ... and the host's game is taken wherever games are played on the host.
    values = interactions.shapley_values(table)
    estimator = sampling.permutation_shapley(4, 16)
    masks = estimator.design(jax.random.key(0))
    estimate = estimator.estimate(masks, forest_game(inputs[10:13])(np.asarray(masks)))
    np.testing.assert_allclose(estimate.values, values, atol=1e-6)
    fit = sparse.recover_moebius(jax.random.key(0), forest_game(inputs[10]), 40, num_held_out=20)
    assert fit.r_squared > 0.999


def test_the_game_of_a_forest_on_the_host_is_the_one_of_jax_where_both_can_play():
    sample, backgrounds = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[[0.5, 0.0], [0.0, -1.0]]] * 2)
    model, score = lambda inputs: (inputs**2).sum((-1, -2)), lambda outputs: outputs
    for baseline in (0.0, backgrounds[0], backgrounds):
        options = {"baseline": baseline, "assignment": [0, -1], "score": score}
        on_host = interactions.evaluate_on_host(interactions.masked_game_on_host(model, sample, **options))
        np.testing.assert_allclose(on_host, interactions.evaluate(interactions.masked_game(model, sample, **options)))


def test_words_are_masked_on_the_host():
    game = interactions.masked_game_on_host(
        lambda rows: np.array([" ".join(row) for row in rows]),
        np.array(["good", "film"]),
        baseline="",
        assignment=[0, 1],
        score=lambda texts: np.char.count(texts, "good"),
    )
    assert interactions.evaluate_on_host(game).tolist() == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": 3}, "model: expected a function of a batch of inputs, got 3"),
        ({"baseline": np.zeros(3)}, r"baseline: expected shape \(4,\) or a set of such, got \(3,\)"),
        ({"baseline": np.zeros((0, 4))}, r"baseline: expected shape \(4,\) or a set of such, got \(0, 4\)"),
        ({"assignment": np.arange(3)}, "assignment: expected the leading axes"),
        ({"sample": [[1.0], [1.0, 2.0]]}, "sample: expected"),
        ({"score": lambda p: p}, r"game: expected values of shape \(16,\).* got shape \(16, 4\)"),
        ({"score": lambda p: np.full(len(p), np.nan)}, "game: expected finite values, got 16 of 16"),
    ],
)
def test_bad_games_of_the_host_are_refused(changes, message):
    arguments = {
        "model": lambda inputs: inputs, "sample": np.ones(4), "baseline": np.zeros(4),
        "assignment": np.arange(4), "score": lambda outputs: outputs.sum(-1),
    } | changes  # fmt: skip
    with pytest.raises(ValueError, match=message):
        interactions.evaluate_on_host(interactions.masked_game_on_host(**arguments))


TEXT = jnp.array([101, 7, 9, 7, 102, 0, 0])
EMBEDDING = jnp.arange(128.0)


def test_padding_and_the_ends_are_no_players():
    assignment = interactions.tokens(TEXT, not_players=[101, 102, 0])
    assert assignment.tolist() == [-1, 0, 1, 2, -1, -1, -1]
    assert interactions.tokens([4, 5]).tolist() == [0, 1]


def test_a_mask_token_takes_the_place_of_absent_tokens():
    game = interactions.masked_game(
        lambda ids: ids,
        TEXT,
        baseline=103,
        assignment=interactions.tokens(TEXT, not_players=[101, 102, 0]),
        score=lambda ids: ids @ (10 ** jnp.arange(7)[::-1] % 1000),
    )
    seen = interactions.masked_game(
        lambda ids: ids, TEXT, baseline=103, assignment=interactions.tokens(TEXT, not_players=[101, 102, 0]),
        score=lambda ids: ids[:, 2],
    )  # fmt: skip
    assert seen.num_players == game.num_players == 3
    assert interactions.evaluate(seen).tolist() == [103, 103, 9, 9, 103, 103, 9, 9]


def test_removed_tokens_close_up_and_padding_fills_the_end():
    assignment = interactions.tokens(TEXT, not_players=[101, 102, 0])
    place = jnp.array([1.0, 10.0, 100.0, 1000.0, 1e4, 1e5, 1e6])
    game = interactions.token_game(
        lambda ids: EMBEDDING[ids] @ place, TEXT, padding=0, assignment=assignment, score=lambda outputs: outputs
    )
    for row, mask in enumerate(MASKS[:8, :3]):
        kept = [101, *np.array([7, 9, 7])[mask], 102]
        expected = sum(token * 10.0**at for at, token in enumerate(kept))
        np.testing.assert_allclose(interactions.evaluate(game)[row], expected, rtol=1e-6)


def test_games_of_texts_are_refused_with_figures():
    options = {"padding": 0, "score": lambda outputs: outputs}
    for text, assignment, message in (
        ([0, 7, 9], [-1, 0, 1], "token_ids: expected padding after the text only, got [0, 7, 9]"),
        ([7, 9, 0], [0, 1, 2], "assignment: expected no player that holds padding, got [0, 1, 2]"),
        ([7.0, 9.0], [0, 1], "token_ids: expected integers"),
        ([7, 9], [0, 1, 2], "assignment: expected shape (2,), got (3,)"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            interactions.token_game(lambda ids: ids.sum(-1), text, assignment=assignment, **options)
