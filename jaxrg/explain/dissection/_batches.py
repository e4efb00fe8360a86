"""What all passes over a data set share: images on the host, in batches of one size, and functions of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.checks import as_array, as_count, as_floating, as_integers, check_function
from jaxrg.closures import as_partial
from jaxrg.explain.dissection.placement import Anchor, as_anchor, as_maps, check_covers

# What labels may be that they should not.
TOO_LARGE, MASKS = 1, 2


class Batch(NamedTuple):
    """A batch; the last one is filled up with copies of the last image."""

    index: np.ndarray  # int [batch_size]
    count: int  # how many are real


def batches(num_images: int, batch_size: int) -> Iterator[Batch]:
    """All images in order."""
    for start in range(0, num_images, batch_size):
        index = np.minimum(np.arange(start, start + batch_size), num_images - 1)
        yield Batch(index, min(batch_size, num_images - start))


def as_host(name: str, value: Any) -> np.ndarray:
    """Numbers on the host, where batches are cut; an array of NumPy, as a memory map, is left where it is."""
    if isinstance(value, np.ndarray) and value.ndim:
        as_array(name, value[:1])
        host = value
    else:
        host = np.asarray(as_array(name, value))
    if not host.ndim or not host.size:
        raise ValueError(f"{name}: expected an entry for every image along the first axis, got shape {host.shape}")
    return host


class Images(NamedTuple):
    """A checked stream of maps."""

    maps_fn: Partial
    values: np.ndarray  # [images, ...]
    batch_size: int

    def batches(self) -> Iterator[Batch]:
        """All of them in order."""
        return batches(len(self.values), self.batch_size)

    def at(self, index: np.ndarray) -> Array:
        """Some of them, as floats."""
        return as_floating("images", self.values[index])


def as_images(maps_fn: Any, images: Any, batch_size: Any) -> Images:
    """Check what every pass takes."""
    check_function("maps_fn", maps_fn, of="a batch of images")
    values = as_host("images", images)
    return Images(as_partial(maps_fn), values, min(as_count("batch_size", batch_size), len(values)))


class Concepts(NamedTuple):
    """Checked concepts: arrays, or a function of the images."""

    fn: Partial | None
    values: np.ndarray | None  # [images, concepts or maps of labels, rows, columns]
    categories: np.ndarray  # int32 [concepts]

    def at(self, index: np.ndarray) -> np.ndarray | None:
        """What is given of some images."""
        return None if self.values is None else self.values[index]

    @property
    def membership(self) -> np.ndarray:
        """Bool ``[concepts, categories]``."""
        return self.categories[:, None] == np.arange(self.categories.max() + 1)[None]


def as_concepts(concepts: Any, categories: Any, num_images: int) -> Concepts:
    """Check concepts and their categories, which also say how many there are."""
    groups = np.asarray(as_integers("categories", categories, minimum=0), np.int32)
    if groups.ndim != 1 or not groups.size:
        raise ValueError(f"categories: expected one integer for every concept, got shape {groups.shape}")
    if callable(concepts):
        return Concepts(as_partial(concepts), None, groups)
    values = as_host("concepts", concepts)
    if len(values) != num_images:
        raise ValueError(f"concepts: expected those of {num_images} images, got {len(values)}")
    check_concepts(values, len(groups))
    return Concepts(None, values, groups)


def check_concepts(values: Any, num_concepts: int) -> None:
    """ValueError unless these are masks of so many concepts, or maps of labels."""
    is_mask, is_label = values.dtype == bool, np.issubdtype(values.dtype, np.integer)
    if values.ndim != 4 or not (is_mask or is_label) or (is_mask and values.shape[1] != num_concepts):
        raise ValueError(
            f"concepts: expected bool [images, {num_concepts}, rows, columns] or integers [images, maps, rows, "
            f"columns], got shape {tuple(values.shape)} and dtype {values.dtype}"
        )


def as_aligned(
    maps_fn: Any, images: Any, concepts: Any, categories: Any, anchor: Any, batch_size: Any
) -> tuple[Images, Concepts, Anchor | None]:
    """Check what every pass over images and concepts takes, and how maps lie in masks, before a batch is worked on."""
    stream = as_images(maps_fn, images, batch_size)
    given, place = as_concepts(concepts, categories, len(stream.values)), as_anchor(anchor)
    first = next(stream.batches()).index
    maps, masks, _ = jax.jit(maps_and_masks).eval_shape(
        stream.maps_fn, given.fn, stream.at(first), given.at(first), given.membership
    )
    check_covers(maps.shape[1:3], masks.shape[2:], place)
    return stream, given, place


def maps_and_masks(
    maps_fn: Any, concepts_fn: Any, images: Array, given: Any, membership: Array
) -> tuple[Array, Array, Array]:
    """Of a batch, and what is wrong with its labels."""
    masks, wrong = masks_of(concepts_fn, images, given, len(membership))
    return as_maps("maps_fn", maps_fn(images), len(images)), masks, wrong


def masks_of(concepts_fn: Any, images: Array, given: Any, num_concepts: int) -> tuple[Array, Array]:
    """Masks of a batch, from a function or as they are given, and what is wrong with its labels."""
    found = given if concepts_fn is None else jnp.asarray(concepts_fn(images))
    if len(found) != len(images):
        raise ValueError(f"concepts: expected those of {len(images)} images, got {len(found)}")
    return as_masks(found, num_concepts)


def as_masks(values: Array, num_concepts: int) -> tuple[Array, Array]:
    """Bool ``[images, concepts, rows, columns]``, and zero or what is wrong with labels: `TOO_LARGE` or `MASKS`."""
    check_concepts(values, num_concepts)
    if values.dtype == jnp.bool_:
        return values, jnp.zeros((), jnp.int32)
    labels = values.astype(jnp.int32)
    concepts = jnp.arange(num_concepts, dtype=jnp.int32)[None, None, :, None, None]
    wrong = jnp.where(jnp.max(labels) >= num_concepts, TOO_LARGE, 0)
    if labels.shape[1] == num_concepts:
        # Labels of the first two concepts alone, mixed on one map, though there is a map for each concept.
        least, most = jnp.min(labels, axis=(2, 3)), jnp.max(labels, axis=(2, 3))
        is_zero_or_one = (jnp.min(least) == 0) & (jnp.max(most) == 1)
        wrong = jnp.where(is_zero_or_one & jnp.any(least < most), MASKS, wrong)
    return jnp.any(labels[:, :, None] == concepts, axis=1), wrong


def as_result(values: np.ndarray) -> Array:
    """Numbers from the host in the default floating type."""
    return jax.device_put(values.astype(jnp.result_type(float)))


def check_labels(wrong: Array, num_concepts: int) -> None:
    """ValueError for what `as_masks` found to be wrong."""
    code = int(wrong)
    if code == TOO_LARGE:
        raise ValueError(f"concepts: expected labels up to {num_concepts - 1}, negative for none, got larger ones")
    if code == MASKS:
        raise ValueError(
            f"concepts: expected bool for masks, or labels, negative for none; got integers 0 and 1 in {num_concepts} "
            f"maps of {num_concepts} concepts"
        )
