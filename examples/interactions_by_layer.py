# %% [markdown]
# # Interactions layer by layer: what a network adds and forgets on the way to its output
# A linear classifier of the values after each layer makes a score of that layer, and of the score a game of ten patches
# has exactly 2^10 AND interactions, as the network's output has. Which of the output's interactions does a layer have
# already, and which has it that the output has not? Beside these shares stands what is kept by chance (the same
# interactions, each in the place of another of its order), what two classifiers of one layer keep of each other when
# they are fitted to different digits, and a network without training. The score is the log odds of the class that the
# network predicts; errors are over networks.

# %%
import functools
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from jaxrg import datasets, explain, interactions, nets, training
from jaxrg.explain import hidden, probes
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, mean_and_error, plus_minus, print_claims, run_main, save

IMAGE_SHAPE, GRID, NUM_CLASSES, BATCH_SIZE, WIDTH = (28, 28), (2, 5), 10, 50, 64
SITES = ("relu", "relu_1", "relu_2", "relu_3")
OUTPUT = "output"
PENALTY = 1e-3
LOW = 3  # orders up to this one are low
TRAINED, UNTRAINED = "trained", "untrained"


class Scale(NamedTuple):
    """Size of the study."""

    num_networks: int
    num_train: int
    num_epochs: int
    num_digits: int
    grid: tuple[int, int]
    num_layers: int  # of the four that are looked at, from the last one up


FULL = Scale(5, 2_000, 20, 30, GRID, 4)
SMOKE = Scale(2, 200, 2, 3, (1, 4), 2)
NET = nets.mlp((WIDTH,) * len(SITES) + (NUM_CLASSES,))


# %%
def train(key: jax.Array, inputs: jax.Array, labels: jax.Array, num_epochs: int) -> dict[str, Any]:
    """Parameters before and after training."""
    init_key, train_key = jax.random.split(key)

    def loss_fn(key, params, batch):
        outputs = NET.apply(params, batch[0])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]))

    first, gradient, optimizer = NET.init(init_key, inputs[:1]), training.gradient_of(loss_fn), optax.adam(1e-3)
    data = (inputs, labels)
    run = training.fit(train_key, gradient, optimizer, first, data, num_epochs=num_epochs, batch_size=BATCH_SIZE)
    return {UNTRAINED: first, TRAINED: run.params}


def reader(params: Any, site: str, inputs: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Weights and biases of the best linear classifier of the values at a site."""
    values = hidden.run(NET.apply, params, inputs, read=[site]).values[site]
    found = probes.logistic_probes(values, labels, PENALTY, tolerance=1e-6)
    return jnp.asarray(found.weights[0], jnp.float32), jnp.asarray(found.bias[0], jnp.float32)


@functools.partial(jax.jit, static_argnames=("site", "grid"))
def tables(
    params: Any,
    classifier: Any,
    images: jax.Array,
    classes: jax.Array,
    baseline: jax.Array,
    *,
    site: str,
    grid: tuple[int, int],
) -> jax.Array:
    """AND interactions ``[digits, 2**n]`` of the classifier of a site, or of the output."""

    def model(batch: jax.Array) -> jax.Array:
        if site == OUTPUT:
            return NET.apply(params, batch)
        return hidden.run(NET.apply, params, batch, read=[site]).values[site] @ classifier[0] + classifier[1][None]

    def one(given: tuple[jax.Array, jax.Array]) -> jax.Array:
        score = functools.partial(interactions.log_odds, label=given[1])
        assignment = interactions.patches(IMAGE_SHAPE, grid)
        game = interactions.masked_game(model, given[0], baseline=baseline, assignment=assignment, score=score)
        return interactions.harsanyi(interactions.evaluate(game))

    return jax.lax.map(one, (images, classes))


# %%
class Shares(NamedTuple):
    """Of one network, sums over digits: strengths by order ``[layers, n]`` from 1 up, over all of the output's."""

    kept: np.ndarray
    forgotten: np.ndarray
    new: np.ndarray
    by_chance: np.ndarray  # kept with the interactions of a layer shuffled within their orders
    same_layer: np.ndarray  # kept by a second classifier of the same layer, relative to the first
    appeared: np.ndarray  # new in the next layer, or in the output after the last one
    dropped: np.ndarray  # and forgotten there
    output: np.ndarray  # [n] strength of the output's interactions


def measure(params: Any, train_set: datasets.Dataset, images: jax.Array, scale: Scale) -> Shares:
    """What each layer of one network has of the output's interactions."""
    inputs, labels, half = train_set.inputs, train_set.labels, scale.num_train // 2
    classes = jnp.argmax(NET.apply(params, images), axis=-1)
    given = {"images": images, "classes": classes, "baseline": jnp.mean(inputs, axis=0), "grid": scale.grid}
    nothing = jnp.zeros((WIDTH, NUM_CLASSES)), jnp.zeros(NUM_CLASSES)
    output = tables(params, nothing, site=OUTPUT, **given)
    strength = np.asarray(jnp.sum(interactions.order_strengths(output).total, axis=0))
    rows, sites = [], SITES[-scale.num_layers :]
    layers = [tables(params, reader(params, site, inputs, labels), site=site, **given) for site in sites]
    for number, (site, layer, after) in enumerate(zip(sites, layers, [*layers[1:], output], strict=True)):
        halves = [
            tables(params, reader(params, site, inputs[part], labels[part]), site=site, **given)
            for part in (slice(half), slice(half, None))
        ]
        keys = jax.random.split(jax.random.key(number), len(layer))
        shuffled = jax.vmap(explain.shuffled_within_sizes)(keys, layer)
        changes, step = hidden.interaction_changes(layer, output), hidden.interaction_changes(layer, after)
        total = jnp.sum(interactions.order_strengths(halves[0]).total[:, 1:])
        rows.append(
            [
                *(jnp.sum(part, axis=0) for part in (changes.kept, changes.forgotten, changes.new)),
                jnp.sum(hidden.interaction_changes(shuffled, output).kept, axis=0),
                jnp.sum(hidden.interaction_changes(*halves).kept, axis=0) / total,
                *(jnp.sum(part, axis=0) for part in (step.new, step.forgotten)),
            ]
        )
    # Without order 0, which is the score of the baseline.
    kept, forgotten, new, by_chance, same_layer, appeared, dropped = (
        np.stack(parts)[:, 1:] for parts in zip(*rows, strict=True)
    )
    total = strength[1:].sum()
    kept, forgotten, new, by_chance = kept / total, forgotten / total, new / total, by_chance / total
    shares = kept, forgotten, new, by_chance, same_layer, appeared / total, dropped / total
    return Shares(*shares, output=strength[1:] / total)


def stages_of(found: dict[str, list[Shares]]) -> list[str]:
    """Names of the layers that were looked at."""
    count = len(found[TRAINED][0].kept)
    return [f"layer {number + 1}" for number in range(len(SITES) - count, len(SITES))]


# %%
def claims_of(found: dict[str, list[Shares]]) -> list[Claim]:
    """What was published of layers, and what is measured."""
    trained, untrained = found[TRAINED], found[UNTRAINED]
    share = lambda networks, name, layer: [getattr(each, name)[layer].sum() for each in networks]  # noqa: E731
    rows = []
    stages = stages_of(found)
    for layer, stage in enumerate(stages):
        chance, again = (plus_minus(share(trained, name, layer)) for name in ("by_chance", "same_layer"))
        rows += [
            Claim(
                f"{stage}: kept by the output, of all the output has",
                "rises with depth",
                plus_minus(share(trained, "kept", layer)),
                f"chance {chance}, two probes {again}, untrained {plus_minus(share(untrained, 'kept', layer))}",
            ),
            Claim(
                f"{stage}: forgotten by the output",
                "rises, then falls",
                plus_minus(share(trained, "forgotten", layer)),
                f"untrained {plus_minus(share(untrained, 'forgotten', layer))}",
            ),
        ]
        rows.append(
            Claim(
                f"{stage} to the next: new, forgotten",
                "both, layer by layer",
                f"{plus_minus(share(trained, 'appeared', layer))}, {plus_minus(share(trained, 'dropped', layer))}",
                f"untrained {plus_minus(share(untrained, 'appeared', layer))}, "
                f"{plus_minus(share(untrained, 'dropped', layer))}",
            )
        )
    for kind, orders in (("low", slice(LOW)), ("high", slice(LOW, None))):
        kept = [[each.kept[layer][orders].sum() / each.output[orders].sum() for each in trained] for layer in (0, -1)]
        chance = [each.by_chance[-1][orders].sum() / each.output[orders].sum() for each in trained]
        rows.append(
            Claim(
                f"{kind} orders kept, of those of the output: {stages[0]}, {stages[-1]}",
                "low orders first",
                ", ".join(map(plus_minus, kept)),
                f"chance {plus_minus(chance)}",
            )
        )
    return rows


def figure_of(found: dict[str, list[Shares]]) -> Figure:
    """Strengths relative to the output's, by layer; and by order in the first and in the last layer."""
    figure, axes = style.new_figure(1, 3, size=(14, 4))
    stages = stages_of(found)
    for axis, name in zip(axes[0], (TRAINED, UNTRAINED), strict=False):
        for part, colour in (("kept", style.BLUE), ("forgotten", style.RED), ("new", style.GREEN)):
            means, errors = mean_and_error([getattr(each, part).sum(-1) for each in found[name]])
            text = {"new": "not there yet", "forgotten": "forgotten by the output"}.get(part, part)
            axis.errorbar(range(len(stages)), means, errors, color=colour, marker="o", capsize=2, label=text)
        chance = np.mean([each.by_chance.sum(-1) for each in found[name]], axis=0)
        axis.plot(range(len(stages)), chance, color=style.BLUE, linestyle=":", label="kept by chance")
        axis.set_xticks(range(len(stages)), stages)
        axis.set_ylabel("strength / strength of the output's")
        axis.set_ylim(bottom=0)
        axis.set_title(f"{name} networks", fontsize=10)
        axis.legend(fontsize=8)
    axis = axes[0, 2]
    orders = np.arange(1, found[TRAINED][0].output.size + 1)
    for layer, colour in ((0, style.ORANGE), (-1, style.BLUE)):
        means, errors = mean_and_error([each.kept[layer] / each.output for each in found[TRAINED]])
        axis.errorbar(orders, means, errors, color=colour, marker="o", capsize=2, label=f"kept, {stages[layer]}")
        chance = np.mean([each.by_chance[layer] / each.output for each in found[TRAINED]], axis=0)
        axis.plot(orders, chance, color=colour, linestyle=":", label="by chance")
    axis.set_xlabel("order $k$ / patches")
    axis.set_ylabel("share of the output's of this order")
    axis.set_ylim(0, 1)
    axis.set_title("trained networks", fontsize=10)
    axis.legend(fontsize=8)
    return figure


# %%
def main(smoke: bool = False, out: str = "out/interactions_by_layer") -> None:
    """Train networks, read their layers, compare interactions, print the table, draw."""
    scale = SMOKE if smoke else FULL
    split_key, train_key = jax.random.split(jax.random.key(0))
    train_set, test_set = datasets.split(split_key, datasets.mnist_5k(), scale.num_train)
    images = test_set.inputs[: scale.num_digits]
    found: dict[str, list[Shares]] = {TRAINED: [], UNTRAINED: []}
    for key in jax.random.split(train_key, scale.num_networks):
        for name, params in train(key, train_set.inputs, train_set.labels, scale.num_epochs).items():
            predicted = jnp.argmax(NET.apply(params, test_set.inputs), axis=-1)
            print(f"{name}: test accuracy {float(jnp.mean((predicted == test_set.labels).astype(jnp.float32))):.3f}")
            found[name].append(measure(params, train_set, images, scale))
    print_claims([HEADER, *claims_of(found)])
    save({"interactions_by_layer": figure_of(found)}, out)


if __name__ == "__main__":
    run_main(main, "Interactions of every layer beside those of the output.")
