"""Thresholds, enlarged maps and overlaps against what one writes down in numpy, counts to the last pixel."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import datasets
from jaxrg.explain import dissection
from jaxrg.explain.dissection import placement

NUM_IMAGES, UNITS, CONCEPTS = 21, 5, 6
CATEGORIES = np.array([0, 0, 1, 1, 2, 2])
RULES = {
    "labelled": dissection.iou,
    "all": dissection.iou_all_images,
    "touched": dissection.iou_touched_images,
}


def identity(inputs):
    return inputs


@pytest.fixture(scope="module")
def case():
    """Maps of multiples of one eighth, whose interpolation by quarters is exact, and masks that some images lack."""
    random = np.random.default_rng(0)
    maps = random.integers(-80, 80, (NUM_IMAGES, 4, 4, UNITS)).astype(np.float32) / 8
    masks = random.random((NUM_IMAGES, CONCEPTS, 8, 8)) < 0.15
    masks[:7, :2], masks[5:9, 2:4] = False, False
    maps[..., 0] = np.abs(maps[..., 0]) + 8 * masks[:, 0, ::2, ::2]  # follows the first concept
    levels = np.asarray(dissection.activation_quantiles(identity, maps, quantile=0.9, batch_size=8))
    found = dissection.dissect(identity, maps, masks, CATEGORIES, levels, batch_size=8)
    active = np.asarray(dissection.upsample(maps, (8, 8))) > levels
    return maps, masks, levels, found, active


def hard_values(kind: str) -> np.ndarray:
    random = np.random.default_rng(1)
    normal = random.normal(size=(13, 3, 5, 4)).astype(np.float32)
    return {
        "normal": normal,
        "one bin": np.float32(1) + 1e-5 * normal,  # the upper 16 bits of all keys are one or two
        "ties": np.round(normal),
        "rectified": np.maximum(normal - 2, 0),
        "constant": np.full_like(normal, -3.5),
        "zeros of both signs": np.where(normal > 0, np.float32(0), np.float32(-0.0)),
        "large": np.sign(normal) * np.float32(3e38),
        "infinite": np.where(normal > 2, np.inf, np.where(normal < -1, -np.inf, normal)).astype(np.float32),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["normal", "one bin", "ties", "rectified", "constant", "zeros of both signs", "large", "infinite"]
)
def test_quantiles_equal_those_of_all_values_bit_for_bit(kind):
    maps = hard_values(kind)
    flat = np.sort(maps.reshape(-1, maps.shape[-1]) + np.float32(0), axis=0)  # minus zero plus zero is zero
    for quantile in (0.995, 0.9, 0.5, 0.01):
        found = np.asarray(dissection.activation_quantiles(identity, maps, quantile=quantile, batch_size=4))
        expected = flat[int(np.ceil(round(quantile * len(flat), 6))) - 1]
        np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))
        assert ((flat > found).mean(axis=0) <= 1 - quantile + 1e-12).all()


def test_quantiles_equal_numpy_and_partition():
    maps = np.random.default_rng(2).gamma(0.3, size=(40, 5, 5, 3)).astype(np.float32)
    flat = maps.reshape(-1, 3)
    found = np.asarray(dissection.activation_quantiles(identity, maps, batch_size=16))
    np.testing.assert_array_equal(found, np.quantile(flat, 0.995, axis=0, method="inverted_cdf"))
    np.testing.assert_array_equal(found, np.partition(flat, 994, axis=0)[994])
    rare = np.where(flat > np.quantile(flat, 0.996, axis=0), flat, 0).reshape(maps.shape)
    assert not np.any(dissection.activation_quantiles(identity, rare, batch_size=16))


def test_a_unit_with_a_nan_has_no_threshold_and_no_score(case):
    maps, masks, levels, found, _ = case
    broken = maps.copy()
    broken[3, 1, 1, 2] = np.nan
    quantiles = np.asarray(dissection.activation_quantiles(identity, broken, quantile=0.9, batch_size=8))
    np.testing.assert_array_equal(np.isnan(quantiles), np.arange(UNITS) == 2)
    np.testing.assert_array_equal(np.delete(quantiles, 2), np.delete(levels, 2))
    for given in (quantiles, levels):
        result = dissection.dissect(identity, broken, masks, CATEGORIES, given, batch_size=8)
        for score in (dissection.iou(result), result.correlations):
            np.testing.assert_array_equal(np.isnan(np.asarray(score)).all(axis=1), np.arange(UNITS) == 2)
        np.testing.assert_array_equal(np.delete(result.intersections, 2, 0), np.delete(found.intersections, 2, 0))


def test_maps_are_enlarged_as_by_jax_and_by_hand():
    maps = np.random.default_rng(3).normal(size=(2, 4, 5, 3)).astype(np.float32)
    found = dissection.upsample(maps, (13, 10))
    np.testing.assert_allclose(found, jax.image.resize(maps, (2, 13, 10, 3), "bilinear"), atol=2e-6)
    np.testing.assert_array_equal(dissection.upsample(maps, (4, 5)), maps)
    anchor = dissection.Anchor((1.5, -2.0), (4.0, 3.0))
    expected = maps
    for axis, side in ((1, 13), (2, 10)):
        place = anchor.offset[axis - 1] + anchor.stride[axis - 1] * np.arange(maps.shape[axis])
        between = functools.partial(np.interp, np.arange(side), place)  # constant beyond the ends
        expected = np.apply_along_axis(between, axis, expected)
    np.testing.assert_allclose(dissection.upsample(maps, (13, 10), anchor=anchor), expected, atol=2e-6)


def test_anchors_are_centres_of_receptive_fields():
    """The position of a map depends on pixels that lie evenly around its anchor."""
    layers = [(5, 2, 1), (3, 1, 1), (2, 2, 0), (3, 1, 0)]

    def apply(image):
        for size, stride, padding in layers:
            kernel = jnp.ones((1, 1, size, size))
            image = jax.lax.conv_general_dilated(image, kernel, (stride, stride), [(padding, padding)] * 2)
        return image[0, 0]

    anchor = dissection.receptive_field_anchor(layers)
    image = jnp.ones((1, 1, 48, 48))
    row, column = 3, 4
    touched = np.asarray(jax.grad(lambda image: apply(image)[row, column])(image))[0, 0] > 0
    for axis, position in enumerate((row, column)):
        pixels = np.flatnonzero(touched.any(axis=1 - axis))
        assert pixels.mean() == anchor.offset[axis] + anchor.stride[axis] * position


def test_counts_equal_those_of_all_pixels_at_once(case):
    _, masks, levels, found, active = case
    whole, marks = active.astype(int), masks.astype(int)
    np.testing.assert_array_equal(found.intersections, np.einsum("nyxk,ncyx->kc", whole, marks))
    np.testing.assert_array_equal(found.unit_pixels, whole.sum((0, 1, 2)))
    np.testing.assert_array_equal(found.concept_pixels, marks.sum((0, 2, 3)))
    np.testing.assert_array_equal(found.thresholds, levels)
    assert found.num_pixels == masks[:, 0].size
    for category in range(3):
        inside = masks[:, category == CATEGORIES].any(axis=1)  # [images, rows, columns]
        has_label = inside.any(axis=(1, 2))
        assert 0 < has_label.sum() <= NUM_IMAGES
        np.testing.assert_array_equal(found.labelled_pixels[:, category], whole[has_label].sum((0, 1, 2)))
        is_touched = (active & inside[..., None]).any(axis=(1, 2))
        np.testing.assert_array_equal(found.touched_pixels[:, category], (whole.sum((1, 2)) * is_touched).sum(0))


def test_scores_equal_their_definitions(case):
    maps, masks, _, found, active = case
    flat, marks = np.asarray(dissection.upsample(maps, (8, 8))).reshape(-1, UNITS), np.moveaxis(masks, 1, 0)
    scores = {name: np.asarray(rule(found)) for name, rule in RULES.items()}
    assert (scores["touched"] >= scores["labelled"]).all()
    assert (scores["labelled"] >= scores["all"]).all()
    assert (scores["touched"] > scores["labelled"]).any()
    assert (scores["labelled"] > scores["all"]).any()
    for unit in range(UNITS):
        for concept in range(CONCEPTS):
            mask, on = marks[concept], active[..., unit]
            group = masks[:, CATEGORIES[concept] == CATEGORIES].any(axis=1)
            keeps = {
                "all": np.ones(NUM_IMAGES, bool),
                "labelled": group.any(axis=(1, 2)),
                "touched": (on & group).any(axis=(1, 2)),
            }
            for name, kept in keeps.items():
                union = (on & kept[:, None, None]).sum() + mask.sum() - (on & mask).sum()
                assert scores[name][unit, concept] == np.float32((on & mask).sum() / union)
            pearson = np.corrcoef(flat[:, unit], mask.ravel())[0, 1]
            assert found.correlations[unit, concept] == pytest.approx(pearson, abs=1e-5)
            dice = 2 * (on & mask).sum() / (on.sum() + mask.sum())
            assert dissection.f1(scores["all"])[unit, concept] == pytest.approx(dice, rel=1e-6)


@pytest.mark.parametrize("form", ["labels", "function", "anchor"])
def test_concepts_may_come_in_any_form(case, form):
    """Each pixel with its first concept alone: as a map of labels, or masks made from images that know their number."""
    maps, masks, levels, found, _ = case
    first = masks & (np.cumsum(masks, axis=1, dtype=int) == 1)
    labels = np.where(first.any(1), np.argmax(first, axis=1), -1)[:, None].astype(np.int8)
    if form == "labels":
        result = dissection.dissect(identity, maps, labels, CATEGORIES, levels, batch_size=8)
        expected = dissection.dissect(identity, maps, first, CATEGORIES, levels, batch_size=8)
    elif form == "function":
        numbers = np.broadcast_to(np.arange(NUM_IMAGES)[:, None, None, None], (NUM_IMAGES, 4, 4, 1))
        images, table = np.concatenate([maps, numbers], axis=-1), jnp.asarray(masks)
        concepts = lambda images: table[images[:, 0, 0, -1].astype(jnp.int32)]  # noqa: E731
        result = dissection.dissect(lambda images: images[..., :-1], images, concepts, CATEGORIES, levels, batch_size=8)
        expected = found
    else:
        anchor = dissection.Anchor((0.5, 0.5), (2, 2))  # what is the default for maps of half the size
        result = dissection.dissect(identity, maps, masks, CATEGORIES, levels, anchor=anchor, batch_size=100)
        expected = found
    for name in ("intersections", "concept_pixels", "unit_pixels", "labelled_pixels", "touched_pixels"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))


def test_planted_detectors_are_found():
    """A unit for every concept of the scenes, brighter inside its mask: each is found, and with exact counts."""
    scenes = datasets.scenes(jax.random.key(0), 96, side=16)
    labels, categories = np.asarray(scenes.labels), np.asarray(scenes.categories)
    masks = np.any(labels[:, :, None] == np.arange(30)[:, None, None], axis=1)
    random = np.random.default_rng(5)
    shuffle = random.permutation(30)
    maps = np.moveaxis(masks[:, shuffle] * (1 + random.random(masks.shape)), 1, -1).astype(np.float32)
    levels = np.asarray(dissection.activation_quantiles(identity, maps))
    found = dissection.dissect(identity, maps, labels, categories, levels)
    active = maps > levels
    intersections = np.einsum("nyxk,ncyx->kc", active.astype(int), masks.astype(int))
    np.testing.assert_array_equal(found.intersections, intersections)
    best = dissection.detectors(dissection.iou(found), categories)
    np.testing.assert_array_equal(best.concepts, shuffle)
    assert bool(best.is_detector.all())
    assert best.num_units.tolist() == best.num_unique.tolist() == [8, 7, 6, 9]
    whole = dissection.dissect(identity, maps, labels, categories, np.full(30, 0.5))
    np.testing.assert_array_equal(np.asarray(dissection.iou(whole))[np.arange(30), shuffle], 1.0)


def test_detectors_are_counted_by_category():
    scores = np.array([[0.5, 0.1, 0.0], [0.3, 0.2, 0.0], [0.04, 0.0, 0.0], [0.0, 0.0, 0.05], [np.nan, 0.3, 0.9]])
    found = dissection.detectors(scores, [0, 0, 1])
    assert found.is_detector.tolist() == [True, True, False, True, False]
    assert found.num_units.tolist() == [2, 1]
    assert found.num_unique.tolist() == [1, 1]
    assert bool(jnp.isnan(found.scores[4]))


MASKS = np.ones((3, 2, 4, 4), bool)
GIVEN = {
    "maps_fn": identity,
    "images": np.ones((3, 2, 2, 1), np.float32),
    "concepts": MASKS,
    "categories": [0, 1],
    "thresholds": [0.5],
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"concepts": MASKS[:2]}, "concepts: expected those of 3 images, got 2"),
        ({"concepts": MASKS[:, :1]}, r"concepts: expected bool \[images, 2, rows, columns\] or integers"),
        ({"concepts": MASKS.astype(np.float32)}, "concepts: expected bool"),
        ({"concepts": MASKS[:, :, 0]}, "concepts: expected bool"),
        ({"concepts": np.full((3, 1, 4, 4), 2)}, "concepts: expected labels up to 1, negative for none"),
        ({"concepts": lambda images: jnp.ones((2, 2, 4, 4), bool)}, "concepts: expected those of 3 images, got 2"),
        ({"images": np.ones((3, 2, 3, 1)), "concepts": MASKS[..., :3]}, "concepts: expected rows and columns as of"),
        (
            {"images": np.ones((3, 2, 4, 1))},
            "as of maps with 2 x 4 positions, times one stride of 1 or more, got 4 x 4",
        ),
        (
            {"images": np.ones((3, 5, 5, 1))},
            "as of maps with 5 x 5 positions, times one stride of 1 or more, got 4 x 4",
        ),
        ({"images": np.float32(1)}, r"images: expected an entry for every image along the first axis, got shape \(\)"),
        ({"images": np.array(1.0)}, r"images: expected an entry for every image along the first axis, got shape \(\)"),
        (
            {"concepts": np.eye(4, dtype=np.uint8) * MASKS},
            "expected bool for masks, .* 0 and 1 in 2 maps of 2 concepts",
        ),
        ({"concepts": lambda images: jnp.zeros((3, 2, 4, 4), int).at[1, 0, 2].set(1)}, "expected bool for masks"),
        ({"categories": [0, -1]}, "categories: expected integers from 0"),
        ({"categories": [[0, 1]]}, "categories: expected one integer for every concept"),
        ({"thresholds": [0.5, 0.5]}, r"thresholds: expected shape \(1,\), got \(2,\)"),
        ({"maps_fn": lambda images: images[0]}, r"maps_fn: expected \[images, rows, columns, units\] of 3 images"),
        ({"maps_fn": 3}, "maps_fn: expected a function of a batch of images"),
        ({"images": np.ones((0, 2, 2, 1))}, "images: expected an entry for every image"),
        ({"batch_size": 0}, "batch_size: expected an integer >= 1"),
        ({"anchor": (0, 1)}, "anchor: expected an Anchor"),
        ({"anchor": dissection.Anchor((0, 0), (0, 1))}, "anchor: expected finite offsets and strides above zero"),
        ({"anchor": dissection.Anchor((500, 0.5), (2, 2))}, "around the middle of 4 pixels .*, got 2 from 500 to 502"),
        (
            {"anchor": dissection.Anchor((0.5, -500), (2, 2))},
            "around the middle of 4 pixels .*, got 2 from -500 to -498",
        ),
        ({"anchor": dissection.Anchor((0, 4), (2, 8))}, "a stride beyond them, got 2 from 4 to 12"),
    ],
)
def test_what_is_not_aligned_is_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        dissection.dissect(**GIVEN | wrong)


def test_alignment_is_checked_by_all_passes_before_the_first_batch():
    def maps_fn(images):
        jax.debug.callback(lambda: ran.append(True))
        return images

    ran, wrong = (
        [],
        GIVEN | {"maps_fn": maps_fn, "images": np.ones((3, 4, 8, 1)), "concepts": np.ones((3, 2, 16, 8), bool)},
    )
    no_levels = {name: value for name, value in wrong.items() if name != "thresholds"}
    for call in (
        lambda: dissection.dissect(**wrong),
        lambda: dissection.shuffled_iou(jax.random.key(0), **wrong, num_draws=1),
        lambda: dissection.average_precision(**no_levels),
    ):
        with pytest.raises(
            ValueError, match="as of maps with 4 x 8 positions, times one stride of 1 or more, got 16 x 8"
        ):
            call()
    assert not ran
    with pytest.raises(ValueError, match="anchor: expected positions around the middle of 8 pixels"):
        dissection.upsample(np.ones((1, 4, 4, 1)), (8, 8), anchor=dissection.Anchor((100, 0), (2, 2)))


@pytest.mark.parametrize("step", [lambda side: -(-side // 2), lambda side: side // 2])
def test_maps_of_strided_layers_go_with_images_of_all_sides(step):
    """Sides are halved three times, rounded up as with the padding SAME, or down."""
    for rows, columns in itertools.product((8, 13, 100, 101, 103), repeat=2):
        image, maps = (rows, columns), (rows, columns)
        for _ in range(3):
            maps = tuple(map(step, maps))
            placement.check_covers(maps, image, None)
    placement.check_covers((13, 13), (100, 100), None)
    placement.check_covers((13, 26), (100, 208), None)
    with pytest.raises(ValueError, match="one stride"):
        placement.check_covers((13, 26), (100, 150), None)


def test_labels_of_the_first_concepts_alone_are_no_masks():
    labels = np.zeros((3, 1, 4, 4), np.uint8)
    labels[:, :, :2] = 1
    found = dissection.dissect(**GIVEN | {"concepts": labels})
    assert found.concept_pixels.tolist() == [24, 24]
    constant = np.stack([np.zeros((3, 4, 4), int), np.ones((3, 4, 4), int)], axis=1)  # each concept all over its map
    assert dissection.dissect(**GIVEN | {"concepts": constant}).concept_pixels.tolist() == [48, 48]


def test_quantiles_and_layers_are_refused_by_name():
    for quantile in (0.0, 1.0, np.nan):
        with pytest.raises(ValueError, match="quantile: expected a number between 0 and 1"):
            dissection.activation_quantiles(identity, GIVEN["images"], quantile=quantile)
    with pytest.raises(ValueError, match="layers: expected"):
        dissection.receptive_field_anchor([(3, 1)])
    with pytest.raises(ValueError, match="found: expected a Dissection"):
        dissection.iou(np.ones((2, 2)))
