"""Ellipses against Pillow, which the published images were drawn with, and the laws of their labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageDraw

from jaxrg import datasets

GENERATORS = {"msds1": datasets.msds1, "msds2": datasets.msds2}
NUM_IMAGES = 200


@pytest.fixture(scope="module", params=GENERATORS)
def ellipses(request) -> datasets.Ellipses:
    return GENERATORS[request.param](jax.random.key(3), NUM_IMAGES)


def by_pillow(labels: np.ndarray) -> np.ndarray:
    """One image drawn tile by tile."""
    image = Image.new("RGB", (32, 32))
    for tile in labels.reshape(16, 6).tolist():
        drawn = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
        ImageDraw.Draw(drawn).ellipse((1, 3, 7, 5), (*map(int, tile[3:]), 255))
        drawn = drawn.rotate(tile[2], Image.Resampling.BICUBIC)
        image.paste(drawn, (int(tile[0]), int(tile[1])), drawn)
    return np.asarray(image)


def test_images_are_those_of_pillow_byte_for_byte(ellipses):
    expected = np.stack([by_pillow(labels) for labels in np.asarray(ellipses.labels)[:60]])
    np.testing.assert_array_equal(np.asarray(ellipses.images)[:60], expected)


def test_right_angles_are_those_of_pillow():
    labels = np.array(datasets.msds1(jax.random.key(0), 1).labels)
    labels[0, ..., 2] = np.arange(16).reshape(4, 4) * 45.0
    np.testing.assert_array_equal(np.asarray(datasets.draw_ellipses(labels))[0], by_pillow(labels[0]))


def test_labels_have_the_published_ranges(ellipses):
    x, y, angle, *colour = np.moveaxis(np.asarray(ellipses.labels), -1, 0)
    columns, rows = np.meshgrid(8 * np.arange(4), 8 * np.arange(4), indexing="ij")
    for place, tiles in ((x, columns), (y, rows)):
        assert set(np.unique(place - tiles)) == {-1, 0, 1}
    assert 0 <= angle.min() < 2
    assert 0 <= np.min(colour) <= np.max(colour) <= 255
    assert np.ptp(angle - np.floor(angle)) > 0.9  # the angles are not cut
    assert ellipses.labels.dtype == jnp.float32
    assert ellipses.images.dtype == jnp.uint8


def test_one_factor_is_shared_within_an_image():
    one, two = (generator(jax.random.key(5), NUM_IMAGES).labels for generator in GENERATORS.values())
    colours, angles = np.asarray(one)[..., 3:].reshape(-1, 16, 3), np.asarray(one)[..., 2].reshape(-1, 16)
    assert np.ptp(colours, axis=1).max() == 64  # +-32 about one of the image, for at least one of 200
    assert np.ptp(angles, axis=1).min() > 90
    colours, angles = np.asarray(two)[..., 3:].reshape(-1, 16, 3), np.asarray(two)[..., 2].reshape(-1, 16)
    assert 40 < np.ptp(angles, axis=1).max() <= 45
    assert np.ptp(colours, axis=1).min() > 100
    # Uniform over 0 ... 255: variance (256^2 - 1) / 12 in 9,600 draws, whose own error is 1.3 % with the fourth moment.
    assert abs(colours.var() / ((256**2 - 1) / 12) - 1) < 5 * 0.0092


def test_the_same_key_gives_the_same_images_and_another_others(ellipses):
    again, other = (datasets.msds1(jax.random.key(seed), 2) for seed in (3, 4))
    np.testing.assert_array_equal(again.images, datasets.draw_ellipses(again.labels))
    assert bool((again.images != other.images).any())


def test_more_images_than_are_drawn_at_once_are_drawn_alike(ellipses):
    parts = [datasets.draw_ellipses(ellipses.labels[start : start + 7]) for start in (0, 35)]
    np.testing.assert_array_equal(parts[0], ellipses.images[:7])
    np.testing.assert_array_equal(parts[1], ellipses.images[35:42])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((4, 4, 6)), r"labels: expected shape \(num_images, 4, 4, 6\)"),
        (np.full((1, 4, 4, 6), np.nan), "labels: expected finite"),
        (np.zeros((1, 4, 4, 6)), "at most one pixel off"),
    ],
)
def test_labels_that_cannot_be_drawn_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        datasets.draw_ellipses(labels)


@pytest.mark.parametrize(("entry", "value"), [(0, 1.5), (3, -1.0), (4, 256.0), (5, 0.5)])
def test_a_wrong_place_or_colour_is_refused(ellipses, entry, value):
    labels = np.array(ellipses.labels[:1])
    labels[0, 0, 0, entry] = value
    with pytest.raises(ValueError, match="labels: expected whole positions"):
        datasets.draw_ellipses(labels)


def test_drawing_is_not_traced():
    with pytest.raises(ValueError, match="labels: expected numbers with values"):
        jax.jit(datasets.draw_ellipses)(jnp.zeros((1, 4, 4, 6)))
