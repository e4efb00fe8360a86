"""Bijectors of a few features, and what makes their parts."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from jaxrg.flows import bijectors

HALF = [True, False]
NET = bijectors.perceptron((3,))


def coupled(seed: int) -> dict:
    return {"event_shape": (2,), "mask": HALF, "conditioner": NET}


def layer(seed: int):
    return bijectors.affine_coupling((2,), HALF, NET, log_scale_bound=1.0 + seed)


def several(seed: int) -> dict:
    return {"bijectors": [layer(seed), bijectors.actnorm((2,))]}


def residual(seed: int) -> dict:
    return {"event_shape": (2,), "contraction": bijectors.lipschitz_perceptron((3,))}


def field(seed: int) -> jax.Array:
    return jnp.array([[1.0, 0.5], [0.25, 2.0]]) + 0.1 * seed


def shrunk(seed: int) -> dict:
    scale = jnp.float32(0.4 + 0.01 * seed)
    return {"key": jax.random.key(seed), "fn": lambda x: scale * jnp.sin(x), "values": field(seed), "num_probes": 3}


CALLS = [
    Call("flows.bijectors.actnorm", lambda seed: {"event_shape": (2,)}),
    Call("flows.bijectors.actnorm_params", lambda seed: {"samples": field(seed), "event_shape": (2,)}),
    Call("flows.bijectors.affine_coupling", lambda seed: coupled(seed) | {"log_scale_bound": jnp.float32(1 + seed)}),
    Call("flows.bijectors.chain", several),
    Call("flows.bijectors.circular_spline_coupling", lambda seed: coupled(seed) | {"num_bins": 3}),
    Call("flows.bijectors.continuous", lambda seed: {"event_shape": (2,), "velocity": NET, "num_steps": 2}),
    Call("flows.bijectors.elu", lambda seed: {"values": jax.random.normal(jax.random.key(seed), (5,))}),
    Call("flows.bijectors.fourier_scaling", lambda seed: {"amplitude": jnp.array([2.0, 1.0, 0.5, 1.0]) + seed}),
    Call("flows.bijectors.free_field", lambda seed: {"shape": (2, 2), "mass_squared": jnp.float32(0.5 + seed)}),
    Call("flows.bijectors.haar", lambda seed: {"event_shape": (1, 2)}),
    Call("flows.bijectors.invert", lambda seed: {"bijector": layer(seed)}),
    Call("flows.bijectors.invertible_convolution", lambda seed: {"event_shape": (2,)}),
    Call("flows.bijectors.joint", several),
    Call("flows.bijectors.lipschitz_perceptron", lambda seed: {"hidden": (3,), "bound": jnp.float32(0.5)}),
    Call("flows.bijectors.log_det_estimate", shrunk),
    Call("flows.bijectors.logit", lambda seed: {"event_shape": (2,), "margin": jnp.float32(0.05)}),
    Call("flows.bijectors.parallel_perceptrons", lambda seed: {"num_networks": 2, "hidden": (3,)}),
    Call("flows.bijectors.perceptron", lambda seed: {"hidden": (3,), "activation": jnp.tanh}),
    Call("flows.bijectors.elu", lambda seed: {"values": field(seed)}),
    Call("flows.bijectors.parallel_perceptrons", lambda seed: {"num_networks": 2, "hidden": (3,)}),
    Call("flows.bijectors.permutation", lambda seed: {"event_shape": (2,), "order": (1, 0)}),
    Call("flows.bijectors.repeat", lambda seed: {"layer": layer(seed), "num_layers": 3, "unroll": 1}),
    Call("flows.bijectors.residual", residual),
    Call("flows.bijectors.spectral_norm_bound", lambda seed: {"matrix": field(seed)}),
    Call("flows.bijectors.spline_coupling", lambda seed: coupled(seed) | {"num_bins": 3, "bound": jnp.float32(3.0)}),
    Call("flows.bijectors.split", lambda seed: {"event_shape": (2,), "mask": HALF}),
    Call("flows.bijectors.squeeze", lambda seed: {"event_shape": (1, 2)}),
    Call(
        "flows.bijectors.stochastic_residual",
        lambda seed: {"key": jax.random.key(seed), "num_probes": 1} | residual(seed),
    ),
]
