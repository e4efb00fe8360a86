"""Images under a density: levels, noise, bits per dimension, and what latents know of factors."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from jaxrg import flows
from jaxrg.base import Bijector, Density

FLAT = Density(
    lambda key: (),
    lambda key, params, num_samples: (jnp.zeros((num_samples, 2, 2)), jnp.zeros(num_samples)),
    lambda params, values: jnp.sum(values, axis=tuple(range(1, values.ndim))),
)
IDENTITY = Bijector(
    lambda key: (), lambda params, event: (event, jnp.zeros(1)), lambda params, event: (event, jnp.zeros(1))
)
NOISE = flows.images.uniform_dequantisation()


def levels(seed: int, *shape: int) -> jax.Array:
    return jax.random.randint(jax.random.key(seed), shape, 0, 256)


def latents(seed: int) -> dict:
    keys = jax.random.split(jax.random.key(seed))
    return {"latents": jax.random.normal(keys[0], (40, 3)), "factors": jax.random.normal(keys[1], (40, 2))}


def images(seed: int) -> dict:
    keys = jax.random.split(jax.random.key(seed))
    return {"images": jax.random.uniform(keys[0], (3, 4, 4)), "reference": jax.random.uniform(keys[1], (3, 4, 4))}


DECIMATION = flows.images.image_decimation((4, 4, 1), num_components=2, num_features=4, num_levels=4)


def given(seed: int) -> dict:
    found = {"key": jax.random.key(seed), "flow": DECIMATION, "params": DECIMATION.init(jax.random.key(seed))}
    image = {"levels": levels(seed, 4, 4, 1) // 64, "is_missing": np.arange(16).reshape(4, 4) == 5}
    return found | image | {"num_particles": 4}


CALLS = [
    Call(
        "flows.images.bits_per_dimension",
        lambda seed: {
            "key": jax.random.key(seed),
            "density": FLAT,
            "dequantisation": NOISE,
            "params": flows.images.ImageParams((), ()),
            "levels": levels(seed, 5, 2, 2),
            "batch_size": 3,
        },
    ),
    Call("flows.images.complete", given),
    Call("flows.disentanglement", lambda seed: latents(seed) | {"num_bins": 4, "ridge": 0.01 + 0.01 * seed}),
    Call(
        "flows.images.image_decimation",
        lambda seed: {"shape": (8, 8, 1), "num_components": 2, "num_features": 4, "alone": 4},
    ),
    Call("flows.images.image_likelihood", lambda seed: {"density": FLAT, "dequantisation": NOISE}),
    Call("flows.images.nearest_levels", lambda seed: {"images": images(seed)["images"]}),
    Call("flows.images.peak_signal_to_noise", lambda seed: images(seed) | {"peak": 1.0 + seed}),
    Call("flows.images.quantised", lambda seed: {"values": images(seed)["images"]}),
    Call("flows.images.uniform_dequantisation", lambda seed: {}),
    Call("flows.images.variational_dequantisation", lambda seed: {"flow": IDENTITY}),
]
