"""Network dissection: four images, a layer of two units, and three concepts in two categories."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from jaxrg.explain import dissection

CATEGORIES = np.array([0, 0, 1], np.int32)


def normal(seed: int, *shape: int, of: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.fold_in(jax.random.key(seed), of), shape)


def stream(seed: int, **more) -> dict:
    weight = normal(seed, 2, of=1)
    return {
        "maps_fn": lambda images: jnp.stack([images * weight[0], images * weight[1]], axis=-1),
        "images": normal(seed, 4, 2, 3),
        "batch_size": 2,
    } | more


def labelled(seed: int, **more) -> dict:
    masks = jax.random.bernoulli(jax.random.key(seed), shape=(4, len(CATEGORIES), 4, 6))
    return stream(seed, concepts=np.asarray(masks), categories=CATEGORIES) | more


def dissected(seed: int, **more) -> dict:
    return labelled(seed, thresholds=normal(seed, 2, of=2)) | more


def found(seed: int) -> dict:
    return {"found": dissection.dissect(**dissected(seed))}


CALLS = [
    Call("explain.dissection.activation_quantiles", stream),
    Call("explain.dissection.average_precision", labelled),
    Call(
        "explain.dissection.detectors",
        lambda s: {"scores": jax.nn.sigmoid(normal(s, 4, 3)), "categories": CATEGORIES, "minimum": 0.1 + 0.1 * s},
    ),
    Call("explain.dissection.dissect", dissected),
    Call("explain.dissection.f1", lambda s: {"iou": jax.nn.sigmoid(normal(s, 4, 3))}),
    Call("explain.dissection.iou", found),
    Call("explain.dissection.iou_all_images", found),
    Call("explain.dissection.iou_touched_images", found),
    Call(
        "explain.dissection.null_p_values",
        lambda s: {"observed": jax.nn.sigmoid(normal(s, 4, 3)), "null": jax.nn.sigmoid(normal(s, 5, 4, 3, of=1))},
    ),
    Call("explain.dissection.receptive_field_anchor", lambda s: {"layers": [(3, 1, 1), (2, 2, s)]}),
    Call(
        "explain.dissection.rotation",
        lambda s: {"key": jax.random.key(s), "num_units": 3, "power": 0.5 + s},
    ),
    Call(
        "explain.dissection.shuffled_iou",
        lambda s: dissected(s, key=jax.random.key(s), num_draws=2),
        most=(3, 0),
        why="the shifts, the masks of all images, and the counts",
    ),
    Call(
        "explain.dissection.upsample",
        lambda s: {
            "maps": normal(s, 2, 2, 3, 2),
            "shape": (4, 6),
            "anchor": dissection.Anchor((0.5 + s, 0.0), (2.0, 2.0)),
        },
    ),
]
