"""What one asks of networks: four players and inputs, networks of one hidden layer."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from jaxrg import explain, interactions
from jaxrg.explain import attributions, reallocations

N = 3
POWERS = reallocations.multi_indices(N, 2)
PATCHES = np.array([0, 0, 1])


def keys(seed: int, number: int = 2) -> list[jax.Array]:
    return list(jax.random.split(jax.random.key(seed), number))


def normal(seed: int, *shape: int, of: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.fold_in(jax.random.key(seed), of), shape)


def table(seed: int, *lead: int, of: int = 0) -> jax.Array:
    return normal(seed, *lead, 2**N, of=of)


def result(seed: int, *lead: int) -> explain.Decomposition:
    return explain.Decomposition(table(seed, *lead), table(seed, *lead, of=1))


def game(seed: int) -> interactions.Game:
    pairs = normal(seed, N, N)
    return interactions.game(lambda masks: jnp.sum(jnp.tanh(masks.astype(jnp.float32) @ pairs), axis=-1), N)


def function(seed: int) -> dict:
    weight = normal(seed, N, N)
    return {"function": lambda x: jnp.sum(jnp.tanh(x @ weight)), "sample": normal(seed, N, of=1)}


def with_baseline(seed: int) -> dict:
    return function(seed) | {"baseline": normal(seed, N, of=2)}


def with_backgrounds(seed: int) -> dict:
    return function(seed) | {"backgrounds": normal(seed, 2, N, of=2)}


def layers(seed: int) -> list[attributions.Layer]:
    return [
        attributions.Layer(normal(seed, N, 3, of=4), normal(seed, 3, of=5), jnp.tanh),
        attributions.Layer(normal(seed, 3, 2, of=6), normal(seed, 2, of=7), attributions.identity),
    ]


def network(seed: int, **more) -> dict:
    return {"layers": layers(seed), "sample": normal(seed, N, of=1), "output": seed % 2} | more


def baseline_network(seed: int, **more) -> dict:
    return network(seed, baseline=normal(seed, N, of=2)) | more


def attacked(seed: int) -> dict:
    weight = normal(seed, N, 3)
    return {
        "model": lambda inputs: jnp.tanh(inputs) @ weight,
        "sample": jax.random.uniform(jax.random.key(seed), (N,)),
        "label": seed % 3,
        "assignment": np.arange(N),
    }


def of_samples(seed: int) -> dict:
    given = attacked(seed)
    return {
        "model": given["model"],
        "inputs": normal(seed, 2, N, of=1),
        "labels": jnp.array([0, seed % 3]),
        "baseline": normal(seed, N, of=2),
        "assignment": given["assignment"],
    }


def objective(seed: int) -> dict:
    scale = jax.random.uniform(jax.random.key(seed))
    return {
        "key": keys(seed)[0],
        "objective": lambda key, perturbation: jnp.sum(jnp.sin(1 + scale * perturbation)),
        "sample": jax.random.uniform(jax.random.key(seed + 1), (N,)),
        "epsilon": 0.1 + 0.01 * seed,
        "num_steps": 3,
    }


def ambiguity(seed: int) -> dict:
    values = table(seed)
    options = {"noise_bound": 0.0, "tolerance": 1e-2}
    optimum = interactions.and_or.extract(values, noise_bound=0.0, tolerance=1e-2)
    return {"key": keys(seed)[0], "values": values, "optimum": optimum, "num_draws": 2, "options": options}


def spectra(seed: int) -> dict:
    return {
        "interactions": table(seed, 2),
        "measured": 0.5 + jnp.abs(normal(seed, N + 1)),
        "errors": 0.1 + jnp.abs(normal(seed, N + 1, of=1)),
        "num_steps": 3,
        "num_starts": 4,
    }


def strengths(seed: int) -> interactions.OrderStrengths:
    positive, negative = jnp.abs(normal(seed, N + 1)), jnp.abs(normal(seed, N + 1, of=1))
    return interactions.OrderStrengths(positive + negative, positive, negative)


def terms(seed: int) -> dict:
    return {"terms": reallocations.TaylorTerms(POWERS, normal(seed, len(POWERS))), "shares": POWERS.astype(float)}


def contributions(seed: int) -> dict:
    return {"powers": POWERS, "contributions": normal(seed, N, 2)}


def measured(seed: int) -> dict:
    weight = normal(seed, N, N)
    quadratic = lambda x: x @ weight @ x + jnp.sum(weight[0] * x)  # noqa: E731
    gradient = lambda x: attributions.gradient_times_input(quadratic, x)  # noqa: E731
    sample, baseline = normal(seed, N, of=1), jnp.zeros(N)
    return {
        "attribution": gradient,
        "function": quadratic,
        "sample": sample,
        "baseline": baseline,
        "max_degree": 2,
        "tolerance": 1e-3,
    }


def affine(seed: int) -> dict:
    weight = normal(seed, 4, 2)
    return {"function": lambda x: x.reshape(-1) @ weight + 1, "input_shape": (2, 2), "activation": jnp.tanh}


def head(seed: int) -> dict:
    weight = normal(seed, 2)
    return {
        "head": lambda maps: jnp.tanh(jnp.sum(jnp.mean(maps, axis=(0, 1)) * weight)),
        "features": normal(seed, 2, 2, 2, of=1),
    }


def head_of_means(seed: int) -> dict:
    weight = normal(seed, 2)
    given = {"head_of_means": lambda means: jnp.tanh(jnp.sum(means * weight)), "max_degree": 2}
    return given | {"features": normal(seed, 2, 2, 2, of=1)}


CALLS = [
    Call("explain.attributions.deep_shap", lambda s: network(s, backgrounds=normal(s, 2, N, of=2))),
    Call("explain.attributions.deep_taylor", network),
    Call("explain.attributions.deeplift_rescale", baseline_network),
    Call("explain.attributions.deeplift_reveal_cancel", baseline_network),
    Call("explain.attributions.expected_gradients", with_backgrounds),
    Call("explain.attributions.forward", lambda s: {"layers": layers(s), "sample": normal(s, N, of=1)}),
    Call("explain.attributions.grad_cam", head),
    Call("explain.attributions.gradient_times_input", with_baseline),
    Call("explain.attributions.integrated_gradients", with_baseline),
    Call("explain.attributions.linear_layer", affine),
    Call("explain.attributions.lrp_alpha_beta", network),
    Call("explain.attributions.lrp_epsilon", lambda s: network(s, epsilon=0.01 * (s + 1))),
    Call("explain.attributions.occlusion", with_baseline),
    Call("explain.attributions.occlusion_patch", lambda s: with_baseline(s) | {"assignment": PATCHES}),
    Call("explain.attributions.prediction_difference", with_backgrounds),
    Call("explain.attributions.shapley", with_baseline),
    Call("explain.bottleneck.bottleneck_curve", lambda s: {"interactions": normal(s, 3, 4)}),
    Call(
        "explain.compare_to_null",
        lambda s: {
            "key": keys(s)[0],
            "statistic": lambda tables: jnp.max(tables, axis=-1),
            "values": table(s, 3),
            "null_model": explain.random_game,
            "num_nulls": 3,
        },
    ),
    Call("explain.extraction_ambiguity", ambiguity, most=(4, 0), why="two of them are those of and_or.extract"),
    Call("explain.high_order_share", lambda s: {"interactions": table(s), "max_order": 2}),
    Call("explain.independent_interactions_spectrum", lambda s: {"num_players": N}),
    Call("explain.independent_outputs_spectrum", lambda s: {"num_players": N}),
    Call("explain.interactions_of_samples", of_samples),
    Call("explain.jaccard_by_order", lambda s: {"first": table(s), "second": table(s, of=1)}),
    Call("explain.matching_error", lambda s: {"values": table(s, 2, of=2), "result": result(s, 2)}),
    Call("explain.mean_normalized", lambda s: {"strengths": strengths(s)}),
    Call("explain.mean_order", lambda s: {"total": strengths(s).total}),
    Call("explain.measured_noise", lambda s: {"values": table(s), "reference": table(s, of=1)}),
    Call(
        "explain.mixed_difference_penalty",
        lambda s: {"key": keys(s)[0], "game": game(s), "order": 2, "num_draws": 3},
    ),
    Call("explain.bottleneck.nested_masks", lambda s: {"key": keys(s)[0], "num_players": 5, "lower": 2, "upper": 4}),
    Call("explain.noise_by_order", lambda s: {"variance": jnp.float32(1 + s), "num_players": N}),
    Call(
        "explain.noise_floor",
        lambda s: {
            "interactions": table(s),
            "variance": jnp.float32(0.01 * (s + 1)),
            "rounding": 1e-6 * jnp.abs(normal(s, N + 1)),
        },
    ),
    Call(
        "explain.bottleneck.order_contrast",
        lambda s: {"smaller": normal(s, 4), "larger": normal(s, 4, of=1), "lower": 2, "upper": 3},
    ),
    Call("explain.bottleneck.penalize_orders", lambda s: {"contrast": normal(s, 2, 4)}),
    Call("explain.perturbations.adversarial_margin", lambda s: {"outputs": normal(s, 4), "label": s}),
    Call("explain.perturbations.interaction_reduced_objective", lambda s: attacked(s) | {"weight": 1.0 + s}),
    Call("explain.perturbations.momentum_attack", objective),
    Call(
        "explain.perturbations.perturbation_interaction",
        lambda s: attacked(s) | {"perturbation": 0.1 * normal(s, N, of=3)},
    ),
    Call("explain.perturbations.player_pair_interactions", lambda s: {"game": game(s), "players": jnp.array([0, s])}),
    Call("explain.random_game", lambda s: {"key": keys(s)[0], "values": table(s, 2)}),
    Call("explain.reallocations.alpha_beta_shares", lambda s: {"alpha": 2.0 + s, "beta": -1.0 - s}),
    Call("explain.reallocations.deep_taylor_shares", contributions),
    Call("explain.reallocations.epsilon_shares", lambda s: {"epsilon": 0.1 + s}),
    Call("explain.reallocations.first_order_shares", lambda s: {"powers": POWERS}),
    Call("explain.reallocations.fixed_shares", lambda s: {"shares": reallocations.shapley_shares}),
    Call("explain.reallocations.gradient_shares", lambda s: {"powers": POWERS}),
    Call("explain.reallocations.integrated_shares", lambda s: {"powers": POWERS}),
    Call("explain.reallocations.measured_shares", measured),
    Call("explain.reallocations.multi_indices", lambda s: {"num_variables": N, "max_degree": 2}),
    Call("explain.reallocations.occlusion_shares", lambda s: {"powers": POWERS}),
    Call("explain.reallocations.patch_shares", lambda s: {"powers": POWERS, "assignment": PATCHES}),
    Call("explain.reallocations.reallocate", terms),
    Call(
        "explain.reallocations.reallocate_differences",
        lambda s: baseline_network(s, max_degree=2, shares=reallocations.reveal_cancel_shares),
    ),
    Call("explain.reallocations.reallocate_grad_cam", head_of_means),
    Call(
        "explain.reallocations.reallocate_relevance",
        lambda s: network(s, max_degree=2, shares=reallocations.deep_taylor_shares),
    ),
    Call("explain.reallocations.reveal_cancel_shares", contributions),
    Call("explain.reallocations.shapley_shares", lambda s: {"powers": POWERS}),
    Call("explain.reallocations.taylor_terms", lambda s: with_baseline(s) | {"max_degree": 2}),
    Call("explain.reconstruction", lambda s: {"result": result(s)}),
    Call("explain.rounding_by_order", lambda s: {"values": table(s)}),
    Call("explain.salient_sets", lambda s: {"result": result(s)}),
    Call(
        "explain.bottleneck.sample_orders",
        lambda s: {"key": keys(s)[0], "game": game(s), "orders": (0, 1), "num_pairs": 2, "num_contexts": 3},
    ),
    Call("explain.sample_transfer", lambda s: {"is_salient": table(s, 4) > 0}),
    Call("explain.shuffled_within_sizes", lambda s: {"key": keys(s)[0], "table": table(s)}),
    Call("explain.sorted_strengths", lambda s: {"result": result(s)}),
    Call("explain.sparsity_conditions", lambda s: {"values": table(s, 2)}),
    Call(
        "explain.sparsity_curve",
        lambda s: {"values": table(s, of=2), "result": result(s), "counts": jnp.arange(1, 6)},
    ),
    Call("explain.two_phase.fit_noise", spectra),
    Call(
        "explain.two_phase.noisy_interactions",
        lambda s: {"interactions": table(s), "noise_variance": jnp.float32(0.1 + s)},
    ),
    Call(
        "explain.two_phase.predicted_spectrum",
        lambda s: {"interactions": table(s, 2), "noise_variance": jnp.float32(0.1 + s)},
    ),
]

NOT_CALLED = {
    "explain.attributions.identity": "an activation, called inside compiled functions",
}
