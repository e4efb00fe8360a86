# %% [markdown]
# # Which orders generalise, and what happens without the high ones
# Three questions to exact interactions of small digit classifiers. Do test samples share the training samples'
# interactions less, the higher their order? Two averages over few samples differ by chance, high orders the most, so
# the control deals training and test samples out at random. Do mislabelled samples need higher orders? The control
# asks the same of a network that never saw the wrong labels. And does a penalty on high orders close the gap between
# test and training loss, or is it what any penalty does?

# %%
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import datasets, nets
from jaxrg.explain import (
    high_order_share,
    interactions_of_samples,
    jaccard_by_order,
    mean_order,
    mixed_difference_penalty,
)
from jaxrg.interactions import evaluate, harsanyi, log_odds, masked_game, order_strengths, patches
from jaxrg.stats import permutation_null
from jaxrg.training import checkpoint_epochs, train_checkpoints

sys.path.insert(0, str(Path(__file__).parent))
from _generalization_figures import penalty_paths, transfer_by_order
from _study import HEADER, Claim, mean_and_error, plus_minus, print_claims, run_main, save, show

NUM_CLASSES, BATCH_SIZE, MAX_ORDER = 10, 20, 2
OPTIMIZER = optax.adam(1e-3)
NET = nets.mlp((64, 64, NUM_CLASSES))
Table = list[Claim]


# %%
def digits(num_train: int, num_test: int) -> tuple[datasets.Dataset, datasets.Dataset]:
    """MNIST at 14x14."""
    images = datasets.mnist_5k()
    images = images._replace(inputs=images.inputs.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)))
    return datasets.split(jax.random.key(30), images, num_train, num_test)


def cross_entropy(params: Any, inputs: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(NET.apply(params, inputs), labels)


def no_penalty(key: jax.Array, params: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    return jnp.zeros(())


@partial(jax.jit, static_argnames=("epochs", "penalty"))
def train(inputs: jax.Array, labels: jax.Array, epochs: tuple[int, ...], penalty: Callable = no_penalty) -> Any:
    """Parameters ``[seeds, epochs, ...]``; every seed has its row of labels ``[seeds, samples]``."""

    def loss_fn(key, params, batch):
        return jnp.mean(cross_entropy(params, *batch)) + penalty(key, params, batch)

    def one(seed):
        key, own_labels = seed
        init_key, train_key = jax.random.split(key)
        params = NET.init(init_key, inputs[:1])
        data = (inputs, own_labels)
        return train_checkpoints(train_key, loss_fn, OPTIMIZER, params, data, epochs=epochs, batch_size=BATCH_SIZE)

    return jax.lax.map(one, (jax.random.split(jax.random.key(8), len(labels)), labels))


@partial(jax.jit, static_argnames="grid")
def interactions(params: Any, inputs: jax.Array, labels: jax.Array, baseline: jax.Array, grid: int) -> jax.Array:
    options = {"baseline": baseline, "assignment": patches((14, 14), (grid, grid))}
    return interactions_of_samples(lambda batch: NET.apply(params, batch), inputs, labels, **options)


@jax.jit
@jax.vmap
def similarity(key: jax.Array, train: jax.Array, test: jax.Array) -> tuple[jax.Array, jax.Array]:
    """By order, of the interactions averaged over training and over test samples of one class; and of random splits.

    Averages over few samples differ for that reason alone, high orders the most, where there are many interactions:
    only what the similarity lacks to that of random splits of the same samples is a failure to generalise.
    """

    def of_means(first, second):
        return jaccard_by_order(first.mean(axis=0), second.mean(axis=0))

    splits = permutation_null(jax.random.split(key)[1], of_means, train, test, num_permutations=50)
    return of_means(train, test), splits.mean(axis=0)


@jax.jit
def compare_mean_order(key: jax.Array, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean orders of two groups of spectra, and the two-sided p-value of their difference under random regrouping."""

    def difference(first, second):
        return mean_order(second.mean(axis=0)) - mean_order(first.mean(axis=0))

    null = permutation_null(jax.random.split(key)[1], difference, first, second, num_permutations=500)
    # The observed grouping is one of the possible ones, which keeps p above zero.
    num_extreme = jnp.sum(jnp.abs(null) >= jnp.abs(difference(first, second)))
    return mean_order(first.mean(axis=0)), mean_order(second.mean(axis=0)), (num_extreme + 1) / 501


def rows_by_class(labels: np.ndarray, count: int) -> np.ndarray:
    """The first samples of each class, ``[classes, count]``, or as many as the rarest class has."""
    count = min(count, np.bincount(labels, minlength=NUM_CLASSES).min())
    return np.stack([np.flatnonzero(labels == label)[:count] for label in range(NUM_CLASSES)])


# %%
def transfer(
    params: Any, labels: jax.Array, train_set: datasets.Dataset, test_set: datasets.Dataset, grid: int, count: int
) -> dict[str, np.ndarray]:
    """Similarity of train and test by order, averaged over seeds; errors over the ten classes."""
    baseline = train_set.inputs.mean(axis=0)
    value, ceiling = [], []
    for seed in range(len(labels)):
        own = jax.tree.map(lambda leaf, seed=seed: leaf[seed, -1], params)
        tables = []
        for inputs, given in ((train_set.inputs, labels[seed]), (test_set.inputs, test_set.labels)):
            rows = rows_by_class(np.asarray(given), count)
            table = interactions(own, inputs[rows.ravel()], given[rows.ravel()], baseline, grid)
            tables.append(table.reshape(*rows.shape, -1))
        found = similarity(jax.random.split(jax.random.key(seed), NUM_CLASSES), *tables)
        value.append(found[0])
        ceiling.append(found[1])
    value, ceiling = np.mean(value, axis=0), np.mean(ceiling, axis=0)
    panel = {}
    for name, part in (("measured", value), ("ceiling", ceiling), ("deficit", 1 - value / ceiling)):
        panel[name], panel[f"{name}_error"] = mean_and_error(part)
    return panel


def transfer_rows(true: dict[str, np.ndarray], shuffled: dict[str, np.ndarray]) -> Table:
    num_players = len(true["measured"]) - 1
    rows = []
    for order in sorted({1, 2, num_players // 2, num_players - 2, num_players} - {0}):
        shown = [
            f"{show(panel['measured'][order], panel['measured_error'][order])} of {panel['ceiling'][order]:.2f}"
            for panel in (true, shuffled)
        ]
        rows.append(
            Claim(f"Jaccard train/test, order {order}", "falls with order", shown[0], f"labels shuffled {shown[1]}")
        )
    lowest, highest = 1, num_players - 2
    change = true["deficit"][highest] - true["deficit"][lowest]
    error = np.hypot(true["deficit_error"][highest], true["deficit_error"][lowest])
    low = f"order {lowest} lacks {true['deficit'][lowest]:.2f}"
    rows.append(Claim(f"lack beyond chance, order {highest} - {lowest}", "> 0", show(change, error, sign="+"), low))
    return rows


# %%
def mislabelled(train_set: datasets.Dataset, num_seeds: int, num_epochs: int, grid: int, count: int) -> Table:
    """Mean order of mislabelled against correctly labelled training samples."""
    true = jnp.broadcast_to(train_set.labels, (num_seeds, len(train_set.labels)))
    corrupt = partial(datasets.corrupt_labels, fraction=0.2, num_classes=NUM_CLASSES)
    given, is_wrong = jax.vmap(lambda key: corrupt(key, train_set.labels))(
        jax.random.split(jax.random.key(11), num_seeds)
    )
    epochs = (0, num_epochs)
    runs = {"noisy": train(train_set.inputs, given, epochs), "clean": train(train_set.inputs, true, epochs)}
    baseline = train_set.inputs.mean(axis=0)
    questions = {
        "trained on the wrong labels": ("noisy", given),
        "never saw them, asked for the true class": ("clean", true),
        "never saw them, asked for the wrong class": ("clean", given),
    }

    def totals(run, seed, labels, rows):
        own = jax.tree.map(lambda leaf: leaf[seed, -1], runs[run])
        return order_strengths(interactions(own, train_set.inputs[rows], labels[seed][rows], baseline, grid)).total

    rows = []
    for name, (run, labels) in questions.items():
        found = []
        for seed in range(num_seeds):
            chosen = [np.flatnonzero(np.asarray(is_wrong[seed]) == wrong)[:count] for wrong in (False, True)]
            strengths = [totals(run, seed, labels, rows) for rows in chosen]
            found.append(compare_mean_order(jax.random.key(seed), *strengths))
        first, second, p_value = np.asarray(found).T
        published = "> 0" if name.startswith("trained") else "-"
        control = f"{first.mean():.2f} to {second.mean():.2f}; regrouped at random: median p {np.median(p_value):.3f}"
        rows.append(Claim(f"mislabelled order, {name}", published, plus_minus(second - first, sign="+"), control))
    whole = [
        [mean_order(totals(run, seed, labels, np.arange(count)).mean(axis=0)) for seed in range(num_seeds)]
        for run, labels in (("noisy", given), ("clean", true))
    ]
    text = "order of all samples, 20% labels wrong against none"
    raised = plus_minus(np.subtract(*np.asarray(whole)), sign="+")
    return [*rows, Claim(text, "> 0", raised, f"none: {np.mean(whole[1]):.2f}")]


# %%
def penalties(grid: int, baseline: jax.Array, num_samples: int) -> dict[str, Callable]:
    """Penalties of a batch: exact and sampled ones on high orders, and two controls."""
    assignment = patches((14, 14), (grid, grid))

    def games(params, batch):
        for sample, label in zip(batch[0][:num_samples], batch[1][:num_samples], strict=True):
            yield masked_game(
                lambda inputs: NET.apply(params, inputs),
                sample,
                baseline=baseline,
                assignment=assignment,
                score=lambda outputs, label=label: log_odds(outputs, label),
            )

    def share(key, params, batch):
        tables = jnp.stack([harsanyi(evaluate(game)) for game in games(params, batch)])
        return high_order_share(tables, MAX_ORDER)

    def differences(key, params, batch):
        draws = [
            mixed_difference_penalty(own_key, game, MAX_ORDER + 1, num_draws=16)
            for own_key, game in zip(jax.random.split(key, num_samples), games(params, batch), strict=True)
        ]
        return jnp.mean(jnp.stack(draws))

    def weights(key, params, batch):
        return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)), jnp.zeros(()))

    return {
        "none": no_penalty,
        f"2 x share above order {MAX_ORDER}": lambda *arguments: 2 * share(*arguments),
        f"0.3 x share above order {MAX_ORDER}": lambda *arguments: 0.3 * share(*arguments),
        f"sampled differences of order {MAX_ORDER + 1}": lambda *arguments: 0.3 * differences(*arguments),
        "control: 0.3 x share rewarded": lambda *arguments: -0.3 * share(*arguments),
        "control: weight decay": lambda *arguments: 1e-3 * weights(*arguments),
    }


def regularised(
    train_set: datasets.Dataset,
    test_set: datasets.Dataset,
    num_seeds: int,
    epochs: tuple[int, ...],
    grid: int,
    smoke: bool,
) -> tuple[Table, dict[str, dict[str, np.ndarray]]]:
    """Loss gap, test loss and mean order with each penalty."""
    labels = jnp.broadcast_to(train_set.labels, (num_seeds, len(train_set.labels)))
    baseline = train_set.inputs.mean(axis=0)

    @jax.jit
    def measure(params):
        outputs = NET.apply(params, test_set.inputs)
        test = jnp.mean(cross_entropy(params, test_set.inputs, test_set.labels))
        fitted = jnp.mean(cross_entropy(params, train_set.inputs, train_set.labels))
        table = interactions(params, test_set.inputs[:16], test_set.labels[:16], baseline, grid)
        return {
            "order": mean_order(order_strengths(table).total.mean(axis=0)),
            "train": fitted,
            "test": test,
            "gap": test - fitted,
            "accuracy": jnp.mean((outputs.argmax(axis=-1) == test_set.labels).astype(jnp.float32)),
        }

    chosen = penalties(grid, baseline, 2)
    if smoke:
        chosen = dict(list(chosen.items())[:2])
    paths = {}
    for name, penalty in chosen.items():
        runs = train(train_set.inputs, labels, epochs, penalty)
        path = jax.lax.map(lambda run: jax.lax.map(measure, run), runs)
        paths[name] = {key: np.asarray(value) for key, value in path.items()}
    rows, reference = [], paths["none"]
    # Slower training also has a smaller gap: compare where the training loss is the same.
    level = 0.1
    for name, path in paths.items():
        at_level = [
            [
                np.interp(-np.log(level), -np.log(fitted), test, right=np.nan)
                for fitted, test in zip(*losses, strict=True)
            ]
            for losses in ((one["train"], one["test"]) for one in (path, reference))
        ]
        same = mean_and_error(np.subtract(*np.asarray(at_level)))
        reached = show(*same, 3, "+") if np.isfinite(same[0]) else "not reached"
        last = {key: values[:, -1] for key, values in path.items()}
        control = (
            f"gap {plus_minus(last['gap'] - reference['gap'][:, -1], sign='+')}; "
            f"test loss where training loss is {level}: {reached}; accuracy {plus_minus(last['accuracy'], 3)}"
        )
        published = "-" if name == "none" or "control" in name else "order, gap fall"
        measured = f"order {plus_minus(last['order'])}, gap {plus_minus(last['gap'])}"
        rows.append(Claim(f"penalty {name}", published, measured, control))
    return rows, paths


# %%
def main(smoke: bool = False, out: str = "out/generalization_by_order") -> None:
    start = time.perf_counter()
    grid, num_seeds, num_epochs, count = (2, 2, 3, 5) if smoke else (3, 5, 150, 20)
    train_set, test_set = digits(120 if smoke else 300, 200 if smoke else 1000)
    labels = jnp.broadcast_to(train_set.labels, (num_seeds, len(train_set.labels)))
    shuffled = jax.vmap(lambda key: datasets.shuffle_labels(key, train_set.labels))(
        jax.random.split(jax.random.key(9), num_seeds)
    )
    panels = {}
    for name, given in (("true labels", labels), ("control: labels shuffled", shuffled)):
        runs = train(train_set.inputs, given, (0, num_epochs))
        panels[name] = transfer(runs, given, train_set, test_set, grid, count)
        print(f"transfer, {name}: {time.perf_counter() - start:.0f} s so far", flush=True)
    table = [HEADER, *transfer_rows(*panels.values())]
    table += mislabelled(train_set, num_seeds, num_epochs, grid, 10 if smoke else 60)
    print(f"mislabelled: {time.perf_counter() - start:.0f} s so far\n", flush=True)

    epochs = (0, num_epochs) if smoke else tuple(checkpoint_epochs(60, 20).tolist())
    rows, paths = regularised(train_set, test_set, 2 if smoke else 3, epochs, grid, smoke)
    print_claims([*table, *rows])
    print("'0.50 of 0.80': measured, of what a random split of the same samples reaches.")
    axes = {"order": "mean order on test samples / players", "gap": "test - training loss / nats"}
    axes["test"] = "test loss / nats"
    save({"transfer": transfer_by_order(panels), "penalties": penalty_paths(epochs, paths, quantities=axes)}, out)
    print(f"{time.perf_counter() - start:.0f} s.")


# %%
if __name__ == "__main__":
    run_main(main, "Interactions of training and test samples, order by order.")
