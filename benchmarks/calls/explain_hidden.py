"""Hidden layers: a network of two layers on an image of three by three."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from jaxrg.explain import hidden

LAYERS = {"first": 0, "second": 1}


def normal(seed: int, *shape: int, of: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.fold_in(jax.random.key(seed), of), shape)


def parameters(seed: int) -> dict[str, jax.Array]:
    return {"first": normal(seed, 4, of=1), "second": normal(seed, 4, 2, of=2)}


def outputs(params: dict[str, jax.Array], image: jax.Array) -> jax.Array:
    maps = jax.nn.relu(image[..., None] * params["first"].reshape((1,) * image.ndim + (-1,)))
    return jnp.mean(maps, axis=tuple(range(image.ndim))) @ params["second"]


def score(params: dict[str, jax.Array], image: jax.Array) -> jax.Array:
    return outputs(params, image)[0]


def explained(params: dict[str, jax.Array], image: jax.Array) -> jax.Array:
    return jax.grad(score, 1)(params, image)


def with_sample(seed: int, function: Any = score, **more: Any) -> dict[str, Any]:
    return {"function": functools.partial(function, parameters(seed)), "sample": normal(seed, 3, 3)} | more


def tapped(seed: int, **more: Any) -> dict[str, Any]:
    return {"function": functools.partial(score, parameters(seed)), "args": (normal(seed, 3, 3),)} | more


def twice(pullback: Any, cotangent: jax.Array, inputs: jax.Array) -> Any:
    return pullback(2 * cotangent)


CALLS = [
    Call("explain.hidden.complexity", lambda s: {"picture": normal(s, 3, 3)}),
    Call(
        "explain.hidden.cosine_convergence",
        lambda s: {"key": jax.random.key(s)} | with_sample(s, outputs, sites=["relu"], rule=hidden.guided_rule),
        sealed=("rule",),
    ),
    Call("explain.hidden.deconvnet", with_sample),
    Call("explain.hidden.grad_cam", lambda s: with_sample(s, site="relu")),
    Call("explain.hidden.guided_backpropagation", with_sample),
    Call("explain.hidden.interaction_changes", lambda s: {"before": normal(s, 2, 8), "after": normal(s, 2, 8, of=1)}),
    Call("explain.hidden.rank_correlation", lambda s: {"first": normal(s, 3, 3), "second": normal(s, 3, 3, of=1)}),
    Call("explain.hidden.run", lambda s: tapped(s, read=["relu"], set={"mul": normal(s, 3, 3, 4, of=3)})),
    Call(
        "explain.hidden.smooth",
        lambda s: {"key": jax.random.key(s), "explain": explained, "num_draws": 3, "noise": 0.1 + s},
    ),
    Call("explain.hidden.split", lambda s: {"function": functools.partial(score, parameters(s)), "site": "relu"}),
    Call(
        "explain.hidden.strongest",
        lambda s: {
            "function": functools.partial(score, parameters(s)),
            "inputs": normal(s, 4, 3, 3),
            "site": "relu",
            "num_top": 2,
            "batch_size": 3,
        },
    ),
    Call("explain.hidden.taps", tapped),
    Call(
        "explain.hidden.unit",
        lambda s: {"function": functools.partial(score, parameters(s)), "site": "relu", "index": s},
    ),
    Call(
        "explain.hidden.weight_randomization",
        lambda s: {
            "explain": explained,
            "params": parameters(s),
            "fresh": parameters(s + 2),
            "layers": LAYERS,
            "sample": normal(s, 3, 3),
        },
        sealed=("layers",),
    ),
    Call(
        "explain.hidden.with_rules",
        lambda s: {"function": functools.partial(score, parameters(s)), "rules": {"relu": twice}},
    ),
]

NOT_CALLED = dict.fromkeys(
    ("explain.hidden.deconvnet_rule", "explain.hidden.gradient_rule", "explain.hidden.guided_rule"),
    "a rule, called inside compiled functions",
)
