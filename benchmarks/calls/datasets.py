"""Null models of data, and parts of data sets."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from jaxrg import datasets


def labels(seed: int) -> dict:
    return {"key": jax.random.key(seed), "labels": jnp.arange(12, dtype=jnp.int32) % 3}


def inputs(seed: int) -> dict:
    data = jax.random.bernoulli(jax.random.key(seed), shape=(4, 3, 2)).astype(jnp.float32)
    return {"key": jax.random.key(seed), "inputs": data}


def dataset(seed: int) -> dict:
    data = jax.random.normal(jax.random.key(seed), (12, 2))
    return {"dataset": datasets.Dataset(data, jnp.arange(12, dtype=jnp.int32) % 3, ("a", "b", "c"))}


CALLS = [
    Call("datasets.corrupt_labels", lambda seed: labels(seed) | {"fraction": 0.25 + 0.25 * seed, "num_classes": 3}),
    Call("datasets.draw_ellipses", lambda seed: {"labels": datasets.msds2(jax.random.key(seed), 2).labels}),
    Call("datasets.msds1", lambda seed: {"key": jax.random.key(seed), "num_images": 2}),
    Call("datasets.msds2", lambda seed: {"key": jax.random.key(seed), "num_images": 2}),
    Call("datasets.scenes", lambda seed: {"key": jax.random.key(seed), "num_images": 2, "side": 8}),
    Call("datasets.select_classes", lambda seed: dataset(seed) | {"classes": (2 - seed, 0)}),
    Call("datasets.shuffle_labels", labels),
    Call("datasets.shuffle_pixels", inputs),
    Call("datasets.shuffle_pixels_per_sample", inputs),
    Call("datasets.split", lambda seed: dataset(seed) | {"key": jax.random.key(seed), "num_train": 6, "num_test": 4}),
]
NOT_CALLED = {
    f"datasets.{name}": "reads files of another package"
    for name in ("breast_cancer", "digits", "fashion_mnist", "lfw_faces", "mnist_5k")
} | {"datasets.image_folder": "reads files of the user"}
