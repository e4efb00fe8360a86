"""Chance levels, rotations and average precision, against enumeration and what others compute."""

import functools
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import dissection
from jaxrg.explain.dissection import precision

NUM_IMAGES, UNITS, CONCEPTS = 13, 4, 3
CATEGORIES = [0, 0, 1]
KEY = jax.random.key(0)


def identity(inputs):
    return inputs


@pytest.fixture(scope="module")
def case():
    random = np.random.default_rng(0)
    masks = random.random((NUM_IMAGES, CONCEPTS, 6, 6)) < 0.2
    masks[:4, :2] = False
    maps = random.normal(size=(NUM_IMAGES, 6, 6, UNITS)).astype(np.float32)
    maps[..., 0] += 3 * masks[:, 1]
    return maps, masks, np.quantile(maps, 0.9, axis=(0, 1, 2)).astype(np.float32)


def test_scores_of_shuffled_masks_are_those_of_masks_moved_on(case):
    maps, masks, levels = case
    null = np.asarray(
        dissection.shuffled_iou(KEY, identity, maps, masks, CATEGORIES, levels, num_draws=NUM_IMAGES - 1, batch_size=5)
    )  # all of them: an enumeration
    moved = [
        np.asarray(
            dissection.iou(
                dissection.dissect(identity, maps, np.roll(masks, -step, 0), CATEGORIES, levels, batch_size=5)
            )
        )
        for step in range(1, NUM_IMAGES)
    ]
    order = np.lexsort(null.reshape(len(null), -1).T)
    expected = np.stack(moved)[np.lexsort(np.stack(moved).reshape(len(moved), -1).T)]
    np.testing.assert_array_equal(null[order], expected)
    few = dissection.shuffled_iou(KEY, identity, maps, masks, CATEGORIES, levels, num_draws=3, batch_size=5)
    np.testing.assert_array_equal(few, null[:3])
    found = dissection.iou(dissection.dissect(identity, maps, masks, CATEGORIES, levels, batch_size=5))
    p_values = np.asarray(dissection.null_p_values(found, null))
    assert p_values[0] == pytest.approx(1 / NUM_IMAGES)  # the unit that follows a concept
    best, by_chance = np.asarray(found).max(1), null.max(2)
    np.testing.assert_allclose(p_values, (1 + (by_chance >= best).sum(0)) / NUM_IMAGES, rtol=1e-6)


def test_masks_of_other_images_are_held_for_one_draw_at_a_time():
    random = np.random.default_rng(3)
    maps = random.normal(size=(32, 4, 4, 2)).astype(np.float32)
    masks = random.random((32, 16, 32, 4)) < 0.2  # 8 kB of bits, of which 31 draws would be 250 kB
    draw = functools.partial(
        dissection.shuffled_iou, KEY, identity, maps, masks, [0] * 16, [1.0, 1.0], num_draws=31,
        anchor=dissection.Anchor((3.5, 0), (8, 1)),
    )  # fmt: skip
    draw()
    tracemalloc.start()
    draw()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 200_000


@pytest.mark.slow
def test_p_values_are_uniform_where_masks_are_independent():
    """Of units that know nothing, a share p has p-values of at most p."""
    random = np.random.default_rng(1)
    maps = random.normal(size=(20, 4, 4, 400)).astype(np.float32)
    masks = random.random((20, 2, 4, 4)) < 0.3
    levels = np.full(400, 1.0)
    null = dissection.shuffled_iou(KEY, identity, maps, masks, [0, 1], levels, num_draws=19)
    found = dissection.iou(dissection.dissect(identity, maps, masks, [0, 1], levels))
    p_values = np.asarray(dissection.null_p_values(found, null))
    for level in (0.05, 0.25, 0.5, 0.75):
        share = (p_values <= level + 1e-6).mean()
        # Units share their masks: the error is a little above that of independent tests.
        assert abs(share - level) < 5 * np.sqrt(level * (1 - level) / 400)


def test_unknown_units_have_no_chance_level(case):
    maps, masks, levels = case
    broken = maps.copy()
    broken[2, 0, 0, 1] = np.nan
    null = np.asarray(dissection.shuffled_iou(KEY, identity, broken, masks, CATEGORIES, levels, num_draws=2))
    np.testing.assert_array_equal(np.isnan(null).all((0, 2)), np.arange(UNITS) == 1)
    p_values = dissection.null_p_values(np.where(np.isnan(null[0]), 0.1, null[0]), null)
    assert np.isnan(np.asarray(p_values)).tolist() == [False, True, False, False]


@pytest.mark.parametrize("size", [1, 2, 5, 32])
def test_rotations_are_a_group(size, x64):
    turn = lambda power: np.asarray(dissection.rotation(KEY, size, power))  # noqa: E731
    whole = turn(1.0)
    np.testing.assert_allclose(whole @ whole.T, np.eye(size), atol=1e-13)
    assert np.linalg.det(whole) == pytest.approx(1)
    np.testing.assert_allclose(turn(0.0), np.eye(size), atol=1e-13)
    np.testing.assert_allclose(turn(0.3) @ turn(0.9), turn(1.2), atol=1e-12)
    np.testing.assert_allclose(turn(-1.0), whole.T, atol=1e-12)
    np.testing.assert_allclose(turn(0.25) @ turn(0.25) @ turn(0.5), whole, atol=1e-12)


@pytest.mark.slow
def test_rotations_are_drawn_by_haars_measure():
    """Traces of rotations of n >= 3 axes have mean zero and variance one; those of n = 2 are 2 cos of any angle."""
    traces = [float(jnp.trace(dissection.rotation(jax.random.key(seed), 6))) for seed in range(300)]
    assert abs(np.mean(traces)) < 5 / np.sqrt(300)
    assert abs(np.var(traces) - 1) < 5 * np.sqrt(2 / 300)


def test_average_precision_is_that_of_scikit_learn():
    """Maps of few values, which 16 bits hold; in images of which the last batch is not full."""
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(2)
    masks = random.random((5, 2, 8, 8)) < np.array([0.1, 0.4])[:, None, None]
    maps = random.integers(-12, 12, (5, 4, 4, 3)).astype(np.float32) / 4
    maps[..., 0] += 2 * masks[:, 0, ::2, ::2]
    maps[..., 2] = np.where(maps[..., 2] > 0, 0.0, -0.0)  # one value
    found = np.asarray(dissection.average_precision(identity, maps, masks, [0, 1], num_bits=16, batch_size=2))
    values = np.asarray(dissection.upsample(maps, (8, 8))).reshape(-1, 3)
    for concept, mask in enumerate(np.moveaxis(masks, 1, 0)):
        expected = [metrics.average_precision_score(mask.ravel(), unit) for unit in values.T]
        np.testing.assert_allclose(found[:, concept], expected, rtol=1e-6)
        assert found[2, concept] == pytest.approx(mask.mean())


def test_keys_are_cut_to_their_leading_bits(case):
    """By hand on the counts: with b bits, ties are where the leading b bits of the ordered keys agree."""
    maps, masks, _ = case
    bits = (maps + np.float32(0)).view(np.uint32).astype(np.int64)
    ordered = np.where(bits >> 31, 2**32 - 1 - bits, bits + 2**31).reshape(-1, UNITS)
    metrics = pytest.importorskip("sklearn.metrics")
    for num_bits in (10, 12):
        found = np.asarray(
            dissection.average_precision(identity, maps, masks, CATEGORIES, num_bits=num_bits, batch_size=5)
        )
        for concept, mask in enumerate(np.moveaxis(masks, 1, 0)):
            keys = ordered >> (32 - num_bits)
            expected = [metrics.average_precision_score(mask.ravel(), unit) for unit in keys.T]
            np.testing.assert_allclose(found[:, concept], expected, rtol=1e-6)


def test_average_precision_of_nothing_is_unknown(case):
    maps, masks, _ = case
    broken, none = maps.copy(), masks.copy()
    broken[0, 0, 0, 3] = np.nan
    none[:, 1] = False
    found = np.isnan(np.asarray(dissection.average_precision(identity, broken, none, CATEGORIES, batch_size=5)))
    assert found[:, 1].all()
    assert found[3].all()
    assert not found[:3, [0, 2]].any()


def test_bad_input_is_refused_by_name(case):
    maps, masks, levels = case
    with pytest.raises(ValueError, match="num_draws: expected fewer than the 13 images, got 13"):
        dissection.shuffled_iou(KEY, identity, maps, masks, CATEGORIES, levels, num_draws=13)
    with pytest.raises(ValueError, match="concepts: expected those of 13 images, got 12"):
        dissection.shuffled_iou(KEY, identity, maps, masks[1:], CATEGORIES, levels)
    with pytest.raises(ValueError, match="key: expected a typed key"):
        dissection.shuffled_iou(0, identity, maps, masks, CATEGORIES, levels)
    with pytest.raises(ValueError, match="num_bits: expected 10 to 16, got 17"):
        dissection.average_precision(identity, maps, masks, CATEGORIES, num_bits=17)
    with pytest.raises(ValueError, match="power: expected a number between -inf and inf"):
        dissection.rotation(KEY, 3, np.inf)
    with pytest.raises(ValueError, match=r"null: expected \[num_draws, \*\(2, 3\)\]"):
        dissection.null_p_values(np.ones((2, 3)), np.ones((4, 3, 2)))
    precision.check_size(2**32 - 1)
    with pytest.raises(ValueError, match="images: expected fewer than 2"):
        precision.check_size(2**32)
