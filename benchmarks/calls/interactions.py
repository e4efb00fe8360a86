"""Interactions: games, indices, extraction, sampling, sparse recovery."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from jaxrg import interactions
from jaxrg.interactions import and_or, indices, sampling, sparse

N = 4
PLAYERS = np.arange(N)


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def values(seed: int) -> dict[str, Any]:
    return {"values": normal(seed, 2**N)}


def tables(seed: int) -> dict[str, Any]:
    return {"interactions": normal(seed, 2**N)}


def ordered(seed: int) -> dict[str, Any]:
    return values(seed) | {"order": 2}


def small_game(seed: int, num_players: int = N) -> interactions.Game:
    weights = normal(seed, num_players)
    return interactions.game(lambda masks: jnp.sin(masks.astype(jnp.float32) @ weights), num_players)


def host_game(seed: int, num_players: int) -> interactions.Game:
    weights = np.random.default_rng(seed).normal(size=num_players)
    return interactions.game(lambda masks: masks[:, 0] * weights[0] + masks[:, 1:3].all(1) * weights[1], num_players)


def scored(seed: int) -> dict[str, Any]:
    weights = normal(seed, N, 3)
    return {
        "model": lambda inputs: inputs @ weights,
        "sample": normal(seed + 10, N),
        "baseline": normal(seed + 20, N),
        "assignment": PLAYERS,
        "score": functools.partial(interactions.log_odds, label=1),
    }


def both_halves(seed: int) -> jax.Array:
    return jnp.stack([jnp.arange(N) % 2 == side for side in (seed % 2, 1 - seed % 2)])


def classified(seed: int) -> dict[str, Any]:
    return {"outputs": normal(seed, 5, 3), "label": jnp.array([0, 2, 1, 0, 1], jnp.int32)}


def learned(seed: int) -> dict[str, Any]:
    weights = normal(seed, N)
    return {
        "key": jax.random.key(seed),
        "model": lambda inputs: jnp.prod(1 + inputs * weights[None], axis=-1, keepdims=True),
        "samples": normal(seed + 1, 8, N),
        "labels": jnp.zeros(8, jnp.int32),
        "initial": normal(seed + 2, N),
        "radius": jnp.float32(0.5),
        "assignment": PLAYERS,
        "score": interactions.logit,
        "num_epochs": 2,
        "batch_size": 4,
    }


def text(seed: int) -> dict[str, Any]:
    embedding = normal(seed, 10)
    ids = jnp.array([5, 2, 7, 0], jnp.int32)
    assignment = np.array([0, 1, 2, -1])
    return {
        "model": lambda tokens: embedding[tokens].sum(-1),
        "token_ids": ids,
        "padding": 0,
        "assignment": assignment,
        "score": lambda outputs: outputs,
    }


def solved(seed: int) -> dict[str, Any]:
    return {"values": normal(seed, 3, 2**N), "noise_bound": jnp.float32(0.05), "max_iterations": 2000}


def estimated(seed: int) -> dict[str, Any]:
    estimator = sampling.proxy_corrected(8, 60, 1)
    return {"key": jax.random.key(seed), "estimator": estimator, "game": small_game(seed, 8)}


def terms(seed: int) -> sparse.Terms:
    subsets = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]], bool)
    return sparse.Terms(jnp.asarray(subsets), normal(seed, 3))


def of_terms(seed: int) -> dict[str, Any]:
    return {"terms": terms(seed)}


def played(seed: int) -> dict[str, Any]:
    return of_terms(seed) | {"masks": jnp.asarray(np.random.default_rng(seed).random((6, N)) < 0.5)}


def low_degree(seed: int) -> dict[str, Any]:
    masks = np.random.default_rng(seed).random((60, N)) < 0.5
    return {"masks": jnp.asarray(masks), "values": normal(seed, 60), "degree": 2}


@functools.cache
def design(seed: int) -> sparse.WalshDesign:
    return sparse.walsh_design(jax.random.key(seed), 12, 400, degree=2, num_held_out=20)


def recovered(seed: int) -> dict[str, Any]:
    chosen = design(seed)
    noise = np.random.default_rng(seed).normal(size=len(chosen.masks))
    return {"design": chosen, "values": jnp.asarray(chosen.masks[:, 0] * 2.0 + 0.01 * noise, jnp.float32)}


INDICES = (
    "banzhaf_generalized_values",
    "banzhaf_interactions",
    "chaining_generalized_values",
    "chaining_interactions",
    "derivative_sums",
    "external_generalized_values",
    "faithful_banzhaf_interactions",
    "faithful_shapley_interactions",
    "fourier_coefficients",
    "generalized_values",
    "interaction_indices",
    "internal_generalized_values",
    "joint_shapley_values",
    "k_additive_shapley",
    "k_shapley_interactions",
    "shapley_generalized_values",
    "shapley_interactions",
    "shapley_taylor_interactions",
)
OF_VALUES = (
    "banzhaf_values",
    "co_moebius",
    "harsanyi",
    "harsanyi_or",
    "multi_order_interactions",
    "shapley_values",
    "sum_by_order",
)
SIZES = ("banzhaf_sizes", "shapley_sizes", "shapley_taylor_sizes")

CALLS = [
    *(Call(f"interactions.{name}", values) for name in OF_VALUES),
    *(Call(f"interactions.indices.{name}", ordered) for name in INDICES),
    *(Call(f"interactions.{name}", lambda seed: {"dividends": normal(seed, 2**N)}) for name in (
        "from_harsanyi", "from_harsanyi_or",
    )),
    *(Call(f"interactions.{name}", tables) for name in ("is_salient", "label_table", "order_strengths")),
    *(Call(f"interactions.{name}", classified) for name in ("log_odds", "log_probability", "logit")),
    Call("interactions.game", lambda seed: {"fn": lambda masks: masks @ normal(seed, N), "num_players": N}),
    Call("interactions.evaluate", lambda seed: {"game": small_game(seed)}),
    Call("interactions.evaluate_on_host", lambda seed: {"game": host_game(seed, N), "chunk_size": 8}),
    Call(
        "interactions.evaluate_over_devices",
        lambda seed: {
            "game": small_game(seed), "mesh": jax.make_mesh((1,), ("subsets",)), "axis_name": "subsets",
        },
    ),
    Call("interactions.masked_game", scored),
    Call(
        "interactions.masked_game_on_host",
        lambda seed: scored(seed) | {"model": lambda x: x, "score": lambda x: x.sum(-1), "assignment": PLAYERS},
    ),
    Call(
        "interactions.apply_masks",
        lambda seed: {
            "masks": both_halves(seed), "sample": normal(seed, N, 2), "baseline": normal(seed + 9, N, 2),
            "assignment": PLAYERS,
        },
    ),
    Call("interactions.blurred_baseline", lambda seed: {"image": normal(seed, 5, 6), "deviation": 1.0}),
    Call(
        "interactions.learn_baseline", learned, most=(10, 0), sealed=("labels",),
        why="the fit keeps its epoch, its optimiser and its checks apart",
    ),
    Call("interactions.features", lambda seed: {"num_features": N}),
    Call("interactions.keep_players", lambda seed: {"assignment": PLAYERS, "players": [2, 0]}),
    Call("interactions.num_players_of", lambda seed: {"assignment": PLAYERS}),
    Call("interactions.pairs", lambda seed: {"num_players": N}),
    Call("interactions.patches", lambda seed: {"image_shape": (4, 6), "grid": (2, 3)}),
    Call("interactions.segments", lambda seed: {"labels": jnp.array([[7, 7], [3, -1]])}),
    Call("interactions.tokens", lambda seed: {"token_ids": jnp.array([5, 2, 7, 0]), "not_players": [0]}),
    Call("interactions.token_game", text),
    Call(
        "interactions.label",
        lambda seed: {"values": normal(seed, 7), "subsets": indices.subsets_up_to(3, 3)[1:], "index": "SII"},
    ),
    Call("interactions.label_matrix", lambda seed: {"values": normal(seed, 5), "index": "SV"}),
    Call(
        "interactions.merge_and_or", lambda seed: {"result": and_or.solve(normal(seed, 8), noise_bound=0.05)},
    ),
    Call("interactions.and_or.solve", solved),
    Call("interactions.and_or.extract", lambda seed: solved(seed) | {"num_lanes": 2}),
    Call("interactions.indices.matrix_of_pairs", lambda seed: {"values": normal(seed, 6)}),
    Call("interactions.indices.table_of_pairs", lambda seed: {"values": normal(seed, 6)}),
    Call("interactions.indices.pairs_of_table", lambda seed: {"table": normal(seed, 2**N)}, sealed=("table",)),
    Call("interactions.indices.pairs_of_matrix", lambda seed: {"matrix": (lambda x: x + x.T)(normal(seed, 4, 4))}),
    Call("interactions.indices.subset_indices", lambda seed: {"members": indices.subsets_up_to(3, 2)}),
    Call("interactions.indices.subsets_up_to", lambda seed: {"num_players": N, "order": 2}),
    Call("interactions.sampling.estimate", estimated),
    *(Call(f"interactions.sampling.{name}", lambda seed: {"num_players": N, "order": 2}) for name in SIZES),
    *(
        Call(f"interactions.sampling.{name}", lambda seed: {"num_players": 8, "budget": 200, "order": 2})
        for name in ("kernel_regression", "proxy_corrected")
    ),
    *(
        Call(f"interactions.sampling.permutation_{name}", lambda seed: {"num_players": 5, "budget": 200})
        for name in ("pairs", "shapley", "shapley_taylor")
    ),
    Call(
        "interactions.sampling.stratified",
        lambda seed: {"num_players": 5, "budget": 30, "sizes": jnp.array([0.25, 0.25, 0.25, 0.25])},
    ),
    *(Call(f"interactions.sparse.{name}_values", played) for name in ("conjunction", "fourier")),
    *(
        Call(f"interactions.sparse.{name}_interactions", lambda seed: of_terms(seed) | {"order": 2})
        for name in ("conjunction", "fourier")
    ),
    *(Call(f"interactions.sparse.{name}", of_terms) for name in ("fourier_from_moebius", "moebius_from_fourier")),
    Call("interactions.sparse.recover_low_degree", low_degree),
    Call("interactions.sparse.recover_walsh", recovered),
    Call(
        "interactions.sparse.recover_moebius",
        lambda seed: {
            "key": jax.random.key(seed), "game": host_game(seed, 6), "budget": 60, "num_held_out": 20,
        },
    ),
    Call(
        "interactions.sparse.walsh_design",
        lambda seed: {
            "key": jax.random.key(seed), "num_players": 12, "budget": 400, "degree": 2, "num_subspaces": 2,
            "num_repeats": 1, "num_held_out": 20,
        },
    ),
]  # fmt: skip

NOT_CALLED = {
    "interactions.indices.generalized_value": "makes a function of a formula; those it makes are called",
    "interactions.indices.interaction_index": "makes a function of a formula; those it makes are called",
}
