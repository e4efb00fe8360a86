"""Scenes: the labels say what the pixels show."""

import jax
import numpy as np
import pytest

from jaxrg import datasets
from jaxrg.datasets.labelled_scenes import COLOURS, GREY, NOISE, SHADE

SIDE, NUM_SCENES = 48, 120


@pytest.fixture(scope="module")
def drawn():
    scenes = datasets.scenes(jax.random.key(0), NUM_SCENES, side=SIDE)
    return np.asarray(scenes.images) / 255, np.asarray(scenes.labels), np.asarray(scenes.categories)


def test_there_are_thirty_concepts_in_four_categories(drawn):
    _, labels, categories = drawn
    assert len(datasets.SCENE_CONCEPTS) == len(set(datasets.SCENE_CONCEPTS)) == len(categories) == 30
    assert len(datasets.SCENE_CATEGORIES) == categories.max() + 1 == 4
    for category, found in enumerate(np.swapaxes(labels, 0, 1)):
        assert set(np.unique(found)) == {-1, *np.flatnonzero(categories == category)}  # all occur, and no others


def test_objects_have_a_shape_and_a_position_and_may_lack_the_others(drawn):
    _, labels, _ = drawn
    colour, shape, texture, position = np.swapaxes(labels, 0, 1) >= 0
    np.testing.assert_array_equal(shape, position)
    assert not (colour & ~shape).any()
    assert not (texture & ~shape).any()
    has = {name: found.any(axis=(1, 2)).mean() for name, found in (("colour", colour), ("texture", texture))}
    # An object is there with 0.7, and has a colour with 0.8, a texture with 0.6; it may be covered by others.
    for name, chance in (("colour", 0.8), ("texture", 0.6)):
        expected = 1 - (1 - 0.7 * chance) ** 4
        assert abs(has[name] - expected) < 5 * np.sqrt(expected * (1 - expected) / NUM_SCENES) + 0.02


def test_pixels_have_the_colours_of_their_labels(drawn):
    """Plain objects in their colour, textured ones in it or in its shade, grey ones without; but for the noise."""
    images, labels, _ = drawn
    colour, shape, texture, _ = np.swapaxes(labels, 0, 1)
    near = NOISE + 1 / 255
    palette = np.array([*COLOURS.values()])
    has_colour = colour >= 0
    expected = np.where(has_colour[..., None], palette[colour], GREY)
    is_bright = np.abs(images - np.clip(expected, 0, 1)).max(-1) <= near
    is_dark = np.abs(images - SHADE * expected).max(-1) <= near
    assert is_bright[(shape >= 0) & (texture < 0)].all()
    textured = texture >= 0
    assert (is_bright | is_dark)[textured].all()
    share = is_dark[textured].mean()
    assert 0.35 < share < 0.5  # half of all but the dots, of which the share is 0.1 pi


def test_positions_are_ninths_of_the_image(drawn):
    _, labels, categories = drawn
    first = np.flatnonzero(categories == 3)[0]
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    for number in range(9):
        seen = labels[:, 3] == first + number
        place = np.array([np.broadcast_to(axis, seen.shape)[seen].mean() for axis in (rows, columns)])
        np.testing.assert_allclose(place, np.clip((np.array(divmod(number, 3)) + 0.5) / 3, 0.2, 0.8), atol=0.08)


def test_a_scene_is_a_function_of_its_number():
    key = jax.random.key(3)
    many, few = (datasets.scenes(key, count, side=8) for count in (70, 3))
    for part, whole in zip(few[:2], many[:2], strict=True):
        np.testing.assert_array_equal(part, whole[:3])
    other = datasets.scenes(jax.random.key(4), 3, side=8)
    assert np.any(other.images != few.images)


def test_bad_input_is_refused_by_name():
    for wrong, message in (((0, 2, 8), "key: expected a typed key"), ((None, 0, 8), "num_images: expected"),
                           ((None, 2, 7), "side: expected an integer >= 8")):  # fmt: skip
        key = jax.random.key(0) if wrong[0] is None else wrong[0]
        with pytest.raises(ValueError, match=message):
            datasets.scenes(key, wrong[1], side=wrong[2])
