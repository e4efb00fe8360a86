"""AND-OR extraction: the duality gap and the time of 128 real games of ten players, beside the published recipe.

The games are log odds of a perceptron 784-128-10 on MNIST digits, one player for each patch of a 2x5 grid, absent
patches black. The recipe is run at several learning rates and the best of them counts for each sample. Quick has the
seconds to the larger gap alone.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.peers.and_or_sgd import NOISE_BOUND, sgd_recipe
from benchmarks.timing import record
from jaxrg import datasets, interactions, nets, training
from jaxrg.interactions import and_or

GRID = (2, 5)
LEARNING_RATES = (1e-7, 1e-6, 3e-6, 1e-5, 3e-5)
TOLERANCES = (1e-3, 1e-6)
NUM_GAMES, NUM_COMPARED = 128, 8
NUM_STEPS = 20_000  # of the recipe


def digit_games(num_games: int, *, num_epochs: int = 10) -> np.ndarray:
    """Games ``float64[num_games, 1024]`` of digits that the network was not trained on."""
    digits = datasets.mnist_5k()
    order = jnp.asarray(np.random.default_rng(0).permutation(len(digits.labels)))
    images, labels = digits.inputs[order], digits.labels[order]
    net = nets.mlp((128, 10))

    def loss_fn(key, params, batch):
        inputs, targets = batch
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(net.apply(params, inputs), targets))

    fit = training.fit(
        jax.random.key(1),
        training.gradient_of(loss_fn),
        optax.adam(1e-3),
        net.init(jax.random.key(0), images[:1]),
        (images[:4000], labels[:4000]),
        num_epochs=num_epochs,
        batch_size=100,
    )
    players = interactions.patches((28, 28), GRID)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), fit.params)

        def table(sample, label):
            game = interactions.masked_game(
                functools.partial(net.apply, params),
                sample,
                baseline=jnp.zeros_like(sample),
                assignment=players,
                score=lambda outputs: interactions.log_odds(outputs, label),
            )
            return interactions.evaluate(game)

        held_out = slice(4000, 4000 + num_games)
        samples = jnp.asarray(np.asarray(images[held_out]), jnp.float64)
        return np.asarray(jax.jit(jax.vmap(table))(samples, labels[held_out]))


def _solved(values: jax.Array, tolerance: float) -> and_or.AndOr:
    try:
        return and_or.extract(values, noise_bound=NOISE_BOUND, tolerance=tolerance)
    except and_or.ExtractionError as error:
        return error.result


def extraction_records(*, quick: bool) -> list[dict[str, Any]]:
    """Seconds to each tolerance, the gap, and both objectives of the same games."""
    games = digit_games(NUM_GAMES)
    records: list[dict[str, Any]] = []
    with jax.enable_x64(True):
        values = jnp.asarray(games)
        _solved(values, 1.0)  # compiles
        for tolerance in TOLERANCES[:1] if quick else TOLERANCES:
            start = time.perf_counter()
            solved = _solved(values, tolerance)
            seconds = time.perf_counter() - start
            name = "and_or_seconds" if tolerance == TOLERANCES[0] else f"and_or_seconds_gap_{tolerance:.0e}"
            records.append(record(name, seconds, f"s, {len(games)} games to a gap of {tolerance:.0e}"))
        if quick:
            return records
        # The recipe is slow on a CPU: some of the games show by how much it misses.
        compared = slice(NUM_COMPARED)
        runs = [sgd_recipe(values[compared], jnp.asarray(rate), num_steps=NUM_STEPS) for rate in LEARNING_RATES]
        recipe = np.min(np.asarray(runs), axis=0)
    objective = np.asarray(solved.objective)[compared]
    excess = recipe / objective - 1
    return [
        *records,
        record("and_or_relative_gap", float(np.max(np.asarray(solved.relative_gap))), f"largest of {len(games)} games"),
        record(
            "and_or_objective",
            float(objective.mean()),
            f"mean L1 norm of {len(recipe)} games",
            peer=f"SGD recipe, {NUM_STEPS} steps, best of {len(LEARNING_RATES)} rates",
            peer_value=float(recipe.mean()),
            ratio=float(recipe.mean() / objective.mean()),
        ),
        record("and_or_recipe_excess_least", float(excess.min()), "recipe / ours - 1"),
    ]
