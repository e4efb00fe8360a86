"""Densities, their symmetries and what they descend along: small Gaussians and a flow that doubles."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from jaxrg import flows, lattice, models
from jaxrg.base import Bijector


def scaled(sign: int):
    return lambda params, x: (x * jnp.exp(sign * params), jnp.full(x.shape[1:], sign * params))


DOUBLE = Bijector(lambda key: jnp.log(jnp.float32(2)), scaled(1), scaled(-1))
PRIOR = flows.gaussian((1,))


def target(seed: int) -> dict:
    factor = jnp.float32(seed + 1)
    return {"density": PRIOR, "action": lambda x: factor * jnp.sum(x**2), "num_samples": 4}


def field(seed: int) -> dict:
    return {"shape": (4, 4), "scale": jnp.float32(seed + 1), "num_pairs": 1, "num_features": 2, "radius": 3.2}


def annealed(seed: int) -> dict:
    return {"objective": lambda value: flows.forward_kl(PRIOR), "schedule": lambda step: step * jnp.float32(seed + 1)}


def known_action(seed: int) -> dict:
    action = models.Phi4(lattice.hypercubic((8, 8)), -4.0, jnp.float32(seed + 5))
    return {"action": action, "num_features": 2}


def small_decimation(seed: int) -> dict:
    return flows.decimation_density((8, 8), num_pairs=1, num_features=2).init(jax.random.key(seed))


CALLS = [
    Call("flows.annealed", annealed),
    Call(
        "flows.conditional",
        lambda seed: {
            "prior": flows.gaussian({0: (2,), 1: (3,)}),
            "init": lambda key: jnp.float32(seed),
            "condition": lambda params, level, coarser: (params, params),
        },
    ),
    Call("flows.decimation_density", field),
    Call("flows.decimation_flow", field),
    Call("flows.density", lambda seed: {"flow": DOUBLE, "prior": PRIOR}),
    Call("flows.extended_decimation", lambda seed: {"params": small_decimation(seed)}, sealed=("params",)),
    Call("flows.field_decimation", known_action),
    Call("flows.forward_kl", lambda seed: {"density": PRIOR}),
    Call("flows.gaussian", lambda seed: {"shapes": {0: (2,), 1: (3,)}, "scale": jnp.float32(seed + 1)}),
    Call("flows.laplace", lambda seed: {"shapes": {0: (2,), 1: (3,)}, "scale": jnp.float32(seed + 1)}),
    Call(
        "flows.latent_action",
        lambda seed: {"flow": DOUBLE, "params": jnp.float32(seed), "action": target(seed)["action"]},
        sealed=("params",),  # of the flow, which alone knows what they may be
    ),
    Call("flows.log_variance", target),
    Call(
        "flows.mixture",
        lambda seed: {"objectives": [flows.forward_kl(PRIOR)] * 2, "weights": jnp.array([0.5, seed + 0.5])},
    ),
    Call("flows.path_gradient", target),
    Call("flows.phase_equivariant", lambda seed: {"coupling": DOUBLE, "frozen": [True, False]}),
    Call("flows.reverse_kl", target),
    Call("flows.symmetrized", lambda seed: {"density": PRIOR, "elements": [jnp.negative]}),
]
