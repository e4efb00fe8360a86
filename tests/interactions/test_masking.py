"""Players, what they hide, scores, and the baselines that take their place."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import interactions, tables

IMAGE = jnp.asarray(np.arange(24.0).reshape(4, 6), jnp.float32)


def all_but(player: int, n: int) -> jax.Array:
    return jnp.ones(n, jnp.bool_).at[player].set(False)


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (3, 4), (4, 6)])
def test_patches_are_rectangles_that_cover_the_image(grid):
    assignment = interactions.patches((4, 6), grid)
    assert interactions.num_players_of(assignment) == grid[0] * grid[1]
    for player in range(grid[0] * grid[1]):
        rows, columns = np.nonzero(assignment == player)
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert (np.ptp(rows) + 1) - 4 / grid[0] < 1
        assert (np.ptp(columns) + 1) - 6 / grid[1] < 1


def test_segments_are_renumbered():
    labels = np.array([[7, 7, -2], [3, 7, 3]])
    np.testing.assert_array_equal(interactions.segments(labels), [[2, 2, 0], [1, 2, 1]])


def test_an_absent_player_shows_the_baseline_and_nobody_else_does():
    assignment = interactions.patches((4, 6), (2, 3))
    masked = interactions.apply_masks(all_but(4, 6), IMAGE, -jnp.ones((4, 6)), assignment)
    np.testing.assert_array_equal(masked, np.where(assignment == 4, -1.0, IMAGE))


@pytest.mark.parametrize("trailing", [(), (3,), (2, 2)])
def test_players_hold_the_trailing_axes_whole(trailing):
    sample = jax.random.normal(jax.random.key(0), (5, *trailing))
    masks = tables.all_bits(5)
    inputs = interactions.apply_masks(masks, sample, jnp.zeros_like(sample), interactions.features(5))
    assert inputs.shape == (32, 5, *trailing)
    expected = np.asarray(sample) * np.asarray(masks).reshape(32, 5, *(1 for _ in trailing))
    np.testing.assert_array_equal(inputs, expected)


def test_tokens_are_replaced_by_the_mask_token():
    tokens, mask_token = jnp.asarray([5, 9, 2, 7]), jnp.int32(103)
    masks = jnp.asarray([[True, False, True, False]])
    inputs = interactions.apply_masks(masks, tokens, jnp.full(4, mask_token), interactions.features(4))
    np.testing.assert_array_equal(inputs, [[5, 103, 2, 103]])
    assert inputs.dtype == tokens.dtype


def test_kept_players_leave_the_others_present():
    assignment = interactions.keep_players(interactions.features(4), [3, 1])
    np.testing.assert_array_equal(assignment, [-1, 1, -1, 0])
    sample = jnp.asarray([1.0, 2.0, 3.0, 4.0])
    masked = interactions.apply_masks(jnp.asarray([True, False]), sample, jnp.zeros(4), assignment)
    np.testing.assert_array_equal(masked, [1.0, 0.0, 3.0, 4.0])


def test_log_odds_keep_their_meaning_where_probabilities_round_to_one():
    outputs = jnp.asarray([[200.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    log_odds, log_probability = jax.jit(interactions.log_odds), jax.jit(interactions.log_probability)
    np.testing.assert_allclose(log_odds(outputs, 0)[0], 200 - np.log(2), rtol=1e-6)
    p = np.asarray(jax.nn.softmax(outputs[1]))
    for label in range(3):
        np.testing.assert_allclose(log_odds(outputs, label)[1], np.log(p / (1 - p))[label], rtol=1e-5)
        np.testing.assert_allclose(log_probability(outputs, label)[1], np.log(p)[label], rtol=1e-5)
        np.testing.assert_array_equal(interactions.logit(outputs, label), outputs[:, label])
    gradient = jax.grad(lambda z: interactions.log_odds(z, 1))(outputs[1])
    assert np.isfinite(gradient).all()


def test_labels_are_one_for_all_or_one_each_and_nothing_else():
    outputs = jnp.asarray([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    p = np.asarray(jax.nn.softmax(outputs))
    own = p[np.arange(3), [0, 1, 2]]
    log_odds = jax.jit(interactions.log_odds)
    for label in ([0, 1, 2], np.arange(3), jnp.arange(3), np.arange(3, dtype=np.uint8)):
        np.testing.assert_allclose(interactions.log_odds(outputs, label), np.log(own / (1 - own)), rtol=1e-5)
    # A traced label that is no class is no number; the others stay.
    np.testing.assert_array_equal(np.isnan(log_odds(outputs, jnp.array([0, -1, 3]))), [False, True, True])
    assert np.isnan(jax.jit(interactions.log_probability)(outputs, jnp.int8(-1))).all()
    for score in (interactions.logit, interactions.log_odds, interactions.log_probability):
        with pytest.raises(ValueError, match=r"label: expected shape \(3,\), got \(2,\)"):
            score(outputs, jnp.array([0, 1]))
        with pytest.raises(ValueError, match="label: expected integers"):
            score(outputs, 1.0)


def test_a_blur_of_integers_is_that_of_their_floats():
    np.testing.assert_allclose(interactions.blurred_baseline(jnp.full((6, 6), 200, jnp.uint8), 1.0), 200.0, rtol=1e-5)
    levels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    expected = interactions.blurred_baseline(levels.astype(np.float32), 1.0)
    for image in (levels, levels.tolist(), jnp.asarray(levels, jnp.int8)):
        np.testing.assert_array_equal(interactions.blurred_baseline(image, 1.0), expected)


def test_integers_and_floats_are_masked_together():
    bytes_, mean = np.array([200, 3], np.uint8), np.array([0.5, 0.5])
    shown = interactions.apply_masks([[True, False]], bytes_, mean, [0, 1])
    np.testing.assert_array_equal(shown, [[200.0, 0.5]])
    game = interactions.masked_game(
        lambda inputs: inputs.sum(-1), bytes_.tolist(), baseline=0.5, assignment=[0, 1], score=lambda outputs: outputs
    )
    np.testing.assert_array_equal(interactions.evaluate(game, chunk_size=np.int64(2)), [1.0, 200.5, 3.5, 203.0])


MESSAGES = [
    (lambda: interactions.patches((4, 4), (5, 1)), r"grid: expected at most \(4, 4\) patches, got \(5, 1\)"),
    (lambda: interactions.patches((4, 4), (0, 1)), "grid: expected an integer >= 1, got 0"),
    (lambda: interactions.patches((28, 28, 1), (2, 2)), r"image_shape: expected \(rows, columns\) of the image"),
    (lambda: interactions.apply_masks(np.ones((1, 4)), np.ones(4), 0.0, np.arange(4)), "masks: expected booleans"),
    (lambda: interactions.segments(np.ones((2, 2))), "labels: expected integers, got an array"),
    (lambda: interactions.num_players_of(np.array([0, 2])), r"expected integers 0 ... n-1 and -1, got \[0, 2\]"),
    (lambda: interactions.keep_players(np.arange(3), [0, 0]), "players: expected distinct players of 3"),
    (lambda: interactions.keep_players(np.arange(3), [3]), "players: expected distinct players of 3"),
    (lambda: interactions.keep_players(np.array([-1, 0, 1]), [-1, 0]), "players: expected distinct players of 2"),
    (
        lambda: interactions.apply_masks(jnp.ones((2, 4), jnp.bool_), jnp.ones(4), jnp.zeros((3, 4)), np.arange(4)),
        r"baseline: expected shape \(4,\), got \(3, 4\)",
    ),
    (
        lambda: interactions.apply_masks(jnp.ones((2, 3), jnp.bool_), jnp.ones(4), jnp.zeros(4), np.arange(4)),
        r"masks: expected the 4 players .* got \(2, 3\)",
    ),
    (
        lambda: interactions.apply_masks(jnp.ones(4, jnp.bool_), jnp.ones(4), jnp.zeros(3), np.arange(4)),
        r"baseline: expected shape \(4,\) or a set of such, got \(3,\)",
    ),
    (
        lambda: interactions.apply_masks(jnp.ones(4, jnp.bool_), jnp.ones(5), jnp.zeros(5), np.arange(4)),
        r"assignment: expected the leading axes of the sample's shape \(5,\), got \(4,\)",
    ),
    (lambda: interactions.blurred_baseline(jnp.ones(3), 1.0), r"image: expected \[rows, columns\]"),
    (lambda: interactions.blurred_baseline(IMAGE, 0.0), "deviation: expected a number between 0.*, got 0.0"),
]


@pytest.mark.parametrize(("call", "message"), MESSAGES)
def test_bad_inputs_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shape", [(3,), (1, 1, 3), (0, 2), (1, 1, 2)])
def test_a_baseline_of_another_shape_is_refused_before_the_game_is_made(shape):
    with pytest.raises(ValueError, match=r"baseline: expected shape \(2,\) or"):
        interactions.masked_game(
            lambda inputs: inputs,
            jnp.ones(2),
            baseline=jnp.zeros(shape),
            assignment=interactions.features(2),
            score=functools.partial(interactions.logit, label=0),
        )


def test_a_blur_spreads_a_point_as_a_gaussian_and_keeps_the_mean():
    point = jnp.zeros((31, 31, 2)).at[15, 15, 1].set(1.0)
    blurred = np.asarray(interactions.blurred_baseline(point, 1.5))
    distance = np.arange(-5, 6)
    expected = np.exp(-0.5 * (distance / 1.5) ** 2)
    np.testing.assert_allclose(blurred[15, 10:21, 1] / blurred[15, 15, 1], expected, rtol=1e-4)
    np.testing.assert_allclose(blurred.sum(axis=(0, 1)), [0.0, 1.0], atol=1e-5)
    np.testing.assert_allclose(interactions.blurred_baseline(jnp.full((4, 6), 2.0), 2.0), 2.0, rtol=1e-5)


def test_a_learned_baseline_makes_the_interactions_sparser_within_its_bound():
    key, noise = jax.random.split(jax.random.key(0))
    samples = 1.0 + jax.random.normal(noise, (16, 4))
    labels = jnp.zeros(16, jnp.int32)
    hidden = jnp.asarray([0.4, -0.2, 0.1, 0.3])  # the model depends on how far the input is from here

    def model(inputs):
        return jnp.prod(1.0 + (inputs - hidden[None, :]), axis=-1, keepdims=True)

    learn = functools.partial(
        interactions.learn_baseline,
        initial=jnp.zeros(4),
        assignment=interactions.features(4),
        score=interactions.logit,
        num_epochs=40,
    )
    learned = learn(key, model, samples, labels, radius=jnp.full(4, 0.5))
    assert learned.strengths[-1] < 0.95 * learned.strengths[0]
    assert np.all(np.abs(learned.baseline) <= 0.5)
    with pytest.raises(ValueError, match=r"radius: expected no negative entries and finite ones, got -1\.0"):
        learn(key, model, samples, labels, radius=jnp.float32(-1.0))
