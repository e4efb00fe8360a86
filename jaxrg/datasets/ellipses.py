"""Synthetic images with factors on two scales: sixteen ellipses that share their colour, or their direction.

The images are those of the published generator, which draws with Pillow: an ellipse on a transparent tile, turned with
bicubic interpolation in premultiplied colours, and pasted by its alpha. Here hundreds of tiles are drawn at once with
the same bytes, which a test holds against Pillow, so that bits per dimension compare.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count, as_floating, check_key, is_traced

ELLIPSE_LABELS = ("x", "y", "angle", "red", "green", "blue")
TILES, TILE = 4, 8  # tiles along a side, pixels along the side of a tile
SIDE = TILES * TILE
CORNERS = TILE * np.stack(np.meshgrid(np.arange(TILES), np.arange(TILES), indexing="ij"), axis=-1)  # [column, row, 2]
CHUNK = 32  # images drawn at once: all their tiles then fit a cache of a few megabytes


class Ellipses(NamedTuple):
    """Images of ellipses and what was drawn.

    Attributes:
        images: uint8 ``[num_images, 32, 32, 3]``, rows of pixels of red, green and blue.
        labels: float32 ``[num_images, 4, 4, 6]``: of the tile in column i and row j ``[:, i, j]`` the `ELLIPSE_LABELS`:
            the left and upper pixel of the tile, the angle in degrees, counter-clockwise, and the colour, 0 to 255.
            The published labels are these, cut to integers; its images are drawn with the angles as they are.
    """

    images: Array
    labels: Array


def msds1(key: Array, num_images: int) -> Ellipses:
    """Ellipses of about one colour an image, each in a direction of its own: colour is the large-scale factor.

    The colour of an image is uniform over 32 ... 223 in each channel, that of an ellipse up to 32 away from it; angles
    are uniform over [0, 180) degrees, and each tile is off its place by at most one pixel.

    Args:
        key: typed key.
        num_images: the published sets have 90,000 to train on and 10,000 to test with.

    Raises:
        ValueError: no key, or no count.

    Example:
        >>> images, labels = msds1(jax.random.key(0), 2)
        >>> images.shape, labels.shape
        ((2, 32, 32, 3), (2, 4, 4, 6))

    Reference:
        Hu, Wu, You, Olshausen & Chen, arXiv:2010.00029 (2020).
    """
    return _ellipses(key, num_images, shares_colour=True)


def msds2(key: Array, num_images: int) -> Ellipses:
    """Ellipses of about one direction an image, each in a colour of its own: direction is the large-scale factor.

    The angle of an image is uniform over [0, 180) degrees and an ellipse is turned by up to 45 degrees more; colours
    are uniform over 0 ... 255 in each channel, and each tile is off its place by at most one pixel.

    Args:
        key: typed key.
        num_images: the published sets have 90,000 to train on and 10,000 to test with.

    Raises:
        ValueError: no key, or no count.

    Reference:
        Hu, Wu, You, Olshausen & Chen, arXiv:2010.00029 (2020).
    """
    return _ellipses(key, num_images, shares_colour=False)


def draw_ellipses(labels: Array) -> Array:
    """Images of given labels, as for changing one factor of an image and nothing else.

    Args:
        labels: ``[num_images, 4, 4, 6]`` as in `Ellipses`. Positions and colours are whole numbers; a tile is at most
            one pixel off its place.

    Returns:
        uint8 ``[num_images, 32, 32, 3]``.

    Raises:
        ValueError: another shape, traced labels, as drawing is done on the host, or values out of range.

    Example:
        >>> labels = msds1(jax.random.key(0), 1).labels
        >>> bool((draw_ellipses(labels) == msds1(jax.random.key(0), 1).images).all())
        True
    """
    values = as_floating("labels", labels)
    if is_traced(values):
        raise ValueError("labels: expected numbers with values, as drawing is done on the host, got a tracer")
    if values.ndim != 4 or values.shape[1:] != (TILES, TILES, len(ELLIPSE_LABELS)):
        raise ValueError(f"labels: expected shape (num_images, 4, 4, 6), got {values.shape}")
    host = np.asarray(values)
    if not np.isfinite(host).all():
        raise ValueError("labels: expected finite values, got NaN or infinite entries")
    whole = host[..., [0, 1, 3, 4, 5]]
    is_near = np.abs(host[..., :2] - CORNERS) <= 1
    is_colour = (host[..., 3:] >= 0) & (host[..., 3:] <= 255)
    if not ((whole == np.round(whole)).all() and is_near.all() and is_colour.all()):
        raise ValueError(
            "labels: expected whole positions at most one pixel off their tiles and whole colours from 0 to 255, "
            "got others"
        )
    return _draw(host)


def _ellipses(key: Any, num_images: Any, *, shares_colour: bool) -> Ellipses:
    check_key("key", key)
    uniform = np.asarray(_uniform(key, num_images=as_count("num_images", num_images)))
    shared = uniform[:, -1, None, None]
    place, angle, colour = np.split(uniform[:, :-1].reshape(-1, TILES, TILES, 6), (2, 3), axis=-1)
    place = CORNERS + np.floor(3 * place) - 1
    if shares_colour:
        angle, colour = 180 * angle, 32 + np.floor(192 * shared[..., 3:]) + np.floor(65 * colour) - 32
    else:
        angle, colour = 180 * shared[..., 2:3] + 45 * angle, np.floor(256 * colour)
    labels = np.concatenate([place, angle, colour], axis=-1).astype(np.float32)
    return Ellipses(_draw(labels), jax.device_put(labels))


@functools.partial(jax.jit, static_argnames="num_images")
def _uniform(key: Array, *, num_images: int) -> Array:
    """Numbers of all tiles, and of what they share."""
    return jax.random.uniform(key, (num_images, TILES**2 + 1, len(ELLIPSE_LABELS)), jnp.float32)


def _draw(labels: np.ndarray) -> Array:
    parts = [_draw_some(labels[start : start + CHUNK]) for start in range(0, len(labels), CHUNK)]
    return jax.device_put(np.concatenate(parts) if parts else np.zeros((0, SIDE, SIDE, 3), np.uint8))


def _draw_some(labels: np.ndarray) -> np.ndarray:
    """Tiles are pasted column by column, each over the rim of those before it."""
    colours, alpha = _turned_tiles(labels[..., 2], labels[..., 3:])
    canvas = np.zeros((len(labels), SIDE + 2, SIDE + 2, 3), np.uint16)  # tiles may reach over the edge by one pixel
    image, pixel = np.arange(len(labels))[:, None, None], np.arange(TILE)
    for i in range(TILES):
        for j in range(TILES):
            x, y = (labels[:, i, j, axis].astype(int)[:, None, None] + 1 for axis in (0, 1))
            place = image, y + pixel[:, None], x + pixel
            mask = alpha[:, i, j, :, :, None]
            mixed = canvas[place] * (255 - mask) + colours[:, i, j] * mask + np.uint16(128)
            canvas[place] = ((mixed >> 8) + mixed) >> 8  # the rounded 255th part, in integers
    return canvas[:, 1:-1, 1:-1].astype(np.uint8)


def _turned_tiles(angles: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of the colours ``[..., 8, 8, 3]`` and of alpha ``[..., 8, 8]`` of the turned ellipses."""
    coverage = _coverage(-np.radians(angles.astype(np.float64)))
    alpha = np.clip(255 * coverage, 0, 255).astype(np.uint16)
    # Interpolated colours are premultiplied by alpha, as bytes; undone by an integer division.
    premultiplied = np.clip(colours[..., None, None, :] * coverage[..., None], 0, 255).astype(np.uint16)
    divisor = np.maximum(alpha, 1)[..., None]
    return np.minimum(premultiplied * np.uint16(255) // divisor, 255).astype(np.uint16), alpha


def _coverage(angles: np.ndarray) -> np.ndarray:
    """``[..., 8, 8]`` bicubic interpolation of the ellipse, one inside and zero outside, turned about the middle.

    The ellipse in the box (1, 3) to (7, 5) is the pixels 2 ... 6 of the rows 3 and 5 and 1 ... 7 of row 4, whose last
    one touches the edge and goes on beyond it. So the interpolation is a product along rows times one along columns.
    """
    cos, sin = (np.round(fn(angles), 15)[..., None, None] for fn in (np.cos, np.sin))
    offset = np.arange(TILE) + 0.5 - TILE / 2
    x = cos * offset + sin * offset[:, None] + TILE / 2
    y = cos * offset[:, None] - sin * offset + TILE / 2
    row = y - 4.5
    outer, inner = _kernel(row - 1) + _kernel(row + 1), _kernel(row)
    turned = outer * (_edge(x - 2.5) - _edge(x - 7.5)) + inner * _edge(x - 1.5)
    return np.where((x >= 0) & (x < TILE) & (y >= 0) & (y < TILE), turned, 0)


def _kernel(distance: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel with slope parameter -1."""
    t = np.abs(distance)
    return np.where(t < 1, 1 + t * t * (t - 2), np.where(t < 2, 4 + t * (-8 + t * (5 - t)), 0))


def _edge(u: Any) -> np.ndarray:
    """Interpolation of pixels that are zero before u = 0 and one from there on: the sum of kernels at u, u - 1, ..."""
    near, far = np.clip(u, 0, 1), np.clip(u, -2, -1) + 2
    return np.where(u < -1, far * far * (far - 1), np.where(u < 0, u + 1, 1 + near * (1 + near * (near - 2))))
