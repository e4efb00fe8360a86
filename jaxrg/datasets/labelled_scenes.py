"""Scenes of objects whose colour, shape, texture and place are known at every pixel, as concepts to look for."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.checks import as_count, check_key

COLOURS = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.75, 0.15),
    "blue": (0.15, 0.2, 0.95),
    "yellow": (0.95, 0.9, 0.1),
    "magenta": (0.9, 0.15, 0.85),
    "cyan": (0.1, 0.85, 0.9),
    "orange": (1.0, 0.55, 0.05),
    "brown": (0.45, 0.25, 0.1),
}
SHAPES = ("disc", "square", "triangle", "ring", "cross", "bar", "diamond")
TEXTURES = ("rows", "columns", "diagonals", "checks", "dots", "grain")
POSITIONS = tuple(f"{row} {column}" for row in ("upper", "middle", "lower") for column in ("left", "centre", "right"))
SCENE_CATEGORIES = ("colour", "shape", "texture", "position")
_NAMES = (tuple(COLOURS), SHAPES, TEXTURES, POSITIONS)
SCENE_CONCEPTS = tuple(name for names in _NAMES for name in names)
_FIRST = np.cumsum([0, *map(len, _NAMES)])  # concept of each category's first name

NUM_OBJECTS, NUM_DRAWS = 4, 10  # objects in a scene, at most, and random numbers of each
SHADE, GREY, NOISE = 0.35, 0.55, 0.07  # of the dark parts of a texture, of objects without a colour, of every pixel
CHUNK = 64  # scenes drawn at once


class Scenes(NamedTuple):
    """Images, and of each pixel what is seen there.

    Attributes:
        images: uint8 ``[num_images, side, side, 3]``.
        labels: int8 ``[num_images, 4, side, side]``, one map for each of `SCENE_CATEGORIES`: the index of one of
            `SCENE_CONCEPTS`, or -1 on the background, on grey objects (colour) and on plain ones (texture).
        categories: int32 ``[num_concepts]``, the category of each of `SCENE_CONCEPTS`.
    """

    images: Array
    labels: Array
    categories: Array


class _Objects(NamedTuple):
    """All objects of a scene, in the order they are painted; ``[objects]`` each, or with two coordinates."""

    is_there: Array
    concepts: Array  # int32 [objects, 3], colour, shape and texture, counted from zero in each; beyond the last: none
    centre: Array  # [objects, 2], row and column, in units of the side
    radius: Array
    turn: Array  # angle of the shape
    period: Array  # of the texture, in units of the side


def scenes(key: Array, num_images: int, *, side: int = 64) -> Scenes:
    """Random scenes of up to four objects on a noisy background, with the label of every pixel.

    Each object has a shape, one of eight colours or grey, one of six textures or none, a size, an angle and a centre;
    its position is the ninth of the image that its centre is in. Later objects cover earlier ones. An object is left
    out with a probability of 0.3, grey with 0.2 and plain with 0.4, so that some images have no label of a category.

    Args:
        key: typed key; scene i is a function of the key, i and the side alone.
        num_images: number of scenes.
        side: pixels along a side, at least 8.

    Returns:
        `Scenes`: 30 concepts in four categories.

    Raises:
        ValueError: no key, or no such counts.

    Example:
        >>> images, labels, categories = scenes(jax.random.key(0), 2, side=16)
        >>> images.shape, labels.shape, len(categories)
        ((2, 16, 16, 3), (2, 4, 16, 16), 30)
    """
    check_key("key", key)
    num_images, side = as_count("num_images", num_images), as_count("side", side, minimum=8)
    images, labels = _scenes(key, num_images=num_images, side=side)
    categories = np.repeat(np.arange(len(_NAMES)), np.diff(_FIRST))
    return Scenes(images, labels, jax.device_put(categories.astype(np.int32)))


@functools.partial(jax.jit, static_argnames=("num_images", "side"))
def _scenes(key: Array, *, num_images: int, side: int) -> tuple[Array, Array]:
    def draw(number: Array) -> tuple[Array, Array]:
        # All numbers of a scene at once: every call of the generator takes seconds to compile.
        uniform = jax.random.uniform(jax.random.fold_in(key, number), (4 * side**2 + NUM_DRAWS * NUM_OBJECTS + 3,))
        pixels, objects, ground = jnp.split(uniform, [4 * side**2, len(uniform) - 3])
        return _draw(pixels.reshape(side, side, 4), _objects(objects.reshape(NUM_DRAWS, NUM_OBJECTS)), ground)

    chunk = min(CHUNK, num_images)
    numbers = jnp.arange(-(-num_images // chunk) * chunk, dtype=jnp.uint32)  # a rest would be compiled once more
    images, labels = lax.map(draw, numbers, batch_size=chunk)
    return images[:num_images], labels[:num_images]


def _objects(uniform: Array) -> _Objects:
    there, colour, is_grey, shape, texture, is_plain, row, column, size, turn = uniform
    kinds = [
        jnp.where(is_missing < share, len(names), jnp.floor(draw * len(names))).astype(jnp.int32)
        for draw, names, is_missing, share in zip(
            (colour, shape, texture), _NAMES[:3], (is_grey, shape, is_plain), (0.2, 0.0, 0.4), strict=True
        )
    ]
    centre = 0.08 + 0.84 * jnp.stack([row, column], axis=-1)
    period = 0.1 + 0.04 * (is_plain - 0.4) / 0.6
    return _Objects(there >= 0.3, jnp.stack(kinds, axis=-1), centre, 0.11 + 0.11 * size, (turn - 0.5), period)


def _draw(pixels: Array, objects: _Objects, ground: Array) -> tuple[Array, Array]:
    """The image and the labels of a scene from uniform numbers, four for each pixel and three for the ground."""
    side = len(pixels)
    place = (jnp.arange(side, dtype=jnp.float32) + 0.5) / side
    rows, columns = jnp.broadcast_arrays(place[:, None], place[None, :])
    grey = 0.25 + 0.5 * (0.3 * ground + 0.7 * jnp.mean(ground))  # nearly
    ground, grain = jnp.broadcast_to(grey, (side, side, 3)), pixels[..., 3] < 0.5
    palette = jnp.asarray([*COLOURS.values(), (GREY,) * 3], jnp.float32)

    def paint(canvas: tuple[Array, Array], thing: _Objects) -> tuple[tuple[Array, Array], None]:
        image, labels = canvas
        y, x = (rows - thing.centre[0]) / thing.radius, (columns - thing.centre[1]) / thing.radius
        cos, sin = jnp.cos(thing.turn), jnp.sin(thing.turn)
        colour, shape, texture = thing.concepts
        is_inside = thing.is_there & _shape(shape, cos * y - sin * x, cos * x + sin * y)
        is_dark = _texture(texture, rows / thing.period, columns / thing.period, grain)
        shaded = palette[colour][None, None] * jnp.where(is_dark, SHADE, 1)[..., None]
        third = jnp.floor(3 * thing.centre).astype(jnp.int32)
        kinds = jnp.append(thing.concepts, 3 * third[0] + third[1])
        counts = jnp.array([len(names) for names in _NAMES])
        named = jnp.where(kinds < counts, kinds + jnp.asarray(_FIRST[:-1].astype(np.int32)), -1).astype(jnp.int8)
        labels = jnp.where(is_inside[None], named[:, None, None], labels)
        return (jnp.where(is_inside[..., None], shaded, image), labels), None

    start = ground, jnp.full((len(_NAMES), side, side), -1, jnp.int8)
    (image, labels), _ = lax.scan(paint, start, objects)
    noisy = image + NOISE * (2 * pixels[..., :3] - 1)
    return jnp.round(255 * jnp.clip(noisy, 0, 1)).astype(jnp.uint8), labels


def _shape(kind: Array, y: Array, x: Array) -> Array:
    """Whether a pixel is inside, in units of the radius; areas are alike."""
    distance, high, wide = jnp.sqrt(y * y + x * x), jnp.abs(y), jnp.abs(x)
    largest = jnp.maximum(high, wide)
    return jnp.select(
        [kind == number for number in range(len(SHAPES))],
        [
            distance < 0.9,
            largest < 0.8,
            (y < 0.75) & (y > 2 * wide - 1.1),
            (distance < 1.05) & (distance > 0.55),
            (largest < 1.0) & (jnp.minimum(high, wide) < 0.35),
            (high < 0.42) & (wide < 1.3),
            high + wide < 1.1,
        ],
        False,
    )


def _texture(kind: Array, y: Array, x: Array, grain: Array) -> Array:
    """Which pixels are dark; none of a plain object. Lengths are in periods."""

    def half(value: Array) -> Array:
        return value - jnp.floor(value) < 0.5

    spot = (y - jnp.floor(y) - 0.5) ** 2 + (x - jnp.floor(x) - 0.5) ** 2
    return jnp.select(
        [kind == number for number in range(len(TEXTURES))],
        [half(y), half(x), half(0.7 * (y + x)), half(y) ^ half(x), spot < 0.1, grain],
        False,
    )
