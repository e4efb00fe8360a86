# %% [markdown]
# # The sparsity theorem, condition by condition
# Three conditions are said to make a network's interactions sparse: those above some order vanish; the score rises, on
# average, as more of an input is shown; and it falls slower than a power of the share that is shown. From them follows
# a bound on the number of salient interactions. Here all of it is measured on digits cut into patches: whether the
# conditions hold, what the bound comes to, and how many salient interactions there are. Beside the trained networks
# stand the same before training, networks trained on shuffled labels, and random functions with the mean and the
# variance of the first. The score is the log odds of the class that a network predicts, and errors are over digits.

# %%
import functools
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from jaxrg import datasets, explain, interactions, nets, training
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, mean_and_error, order_axis, plus_minus, print_claims, run_main, save, show

IMAGE_SHAPE, NUM_CLASSES, BATCH_SIZE = (28, 28), 10, 50
MLP, CNN, UNTRAINED, LABELS, RANDOM = "MLP", "CNN", "untrained", "labels shuffled", "random function"
CONTROLS = (UNTRAINED, LABELS, RANDOM)
LARGEST_DROP = 0.01  # of the score's range: what counts as rising


class Scale(NamedTuple):
    """Size of the study."""

    num_train: int
    num_epochs: int
    widths: tuple[int, ...]  # of the MLP
    channels: tuple[int, ...]  # of the CNN
    grids: tuple[tuple[int, int], ...]  # the last one is looked at closely
    num_digits: int


FULL = Scale(1_000, 30, (128, 128, NUM_CLASSES), (4, 8), ((2, 2), (2, 3), (2, 4), (2, 5), (3, 4)), 40)
SMOKE = Scale(200, 3, (16, NUM_CLASSES), (2,), ((1, 3), (2, 2), (1, 5)), 6)


# %%
def train(net: nets.Net, inputs: jax.Array, labels: jax.Array, num_epochs: int) -> tuple[Any, Any]:
    """Parameters before and after training."""
    init_key, train_key = jax.random.split(jax.random.key(1))

    def loss_fn(key, params, batch):
        outputs = net.apply(params, batch[0])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]))

    first, gradient = net.init(init_key, inputs[:1]), training.gradient_of(loss_fn)
    data, optimizer = (inputs, labels), optax.adam(1e-3)
    run = training.fit(train_key, gradient, optimizer, first, data, num_epochs=num_epochs, batch_size=BATCH_SIZE)
    return first, run.params


def unchanged(values: jax.Array) -> jax.Array:
    """The game itself in place of its interactions."""
    return values


def games_of(scale: Scale) -> dict[str, list[jax.Array]]:
    """Values ``[digits, 2**n]`` of every network, one table for each grid."""
    split_key, order_key, null_key = jax.random.split(jax.random.key(0), 3)
    train_set, test_set = datasets.split(split_key, datasets.mnist_5k(), scale.num_train)
    images, labels = train_set.inputs, train_set.labels
    shown = test_set.inputs[jax.random.permutation(order_key, len(test_set.labels))[: scale.num_digits]]
    mlp, cnn = nets.mlp(scale.widths), nets.cnn(scale.channels, NUM_CLASSES)
    before, after = train(mlp, images, labels, scale.num_epochs)
    shuffled = datasets.shuffle_labels(jax.random.key(2), labels)
    networks = {
        MLP: (mlp, after),
        CNN: (cnn, train(cnn, images, labels, scale.num_epochs)[1]),
        UNTRAINED: (mlp, before),
        LABELS: (mlp, train(mlp, images, shuffled, scale.num_epochs)[1]),
    }
    games = {}
    for name, (net, params) in networks.items():
        model = functools.partial(net.apply, params)
        predicted = jnp.argmax(model(test_set.inputs), axis=-1)
        accuracy = float(jnp.mean((predicted == test_set.labels).astype(jnp.float32)))
        print(f"{name:<16} test accuracy {accuracy:.3f}", flush=True)
        classes = jnp.argmax(model(shown), axis=-1)
        games[name] = [
            explain.interactions_of_samples(
                model,
                shown,
                classes,
                baseline=jnp.mean(images, axis=0),
                assignment=interactions.patches(IMAGE_SHAPE, grid),
                interaction=unchanged,
            )
            for grid in scale.grids
        ]
    keys = jax.random.split(null_key, len(scale.grids))
    games[RANDOM] = [explain.random_game(key, values) for key, values in zip(keys, games[MLP], strict=True)]
    return games


# %%
class Measured(NamedTuple):
    """What the theorem is about, of one network at the finest grid; one entry for each digit."""

    conditions: explain.SparsityConditions
    drop: np.ndarray  # largest drop over the range of the mean score
    rises: np.ndarray  # bool
    has_exponent: np.ndarray  # bool
    num_sets: np.ndarray  # [n + 1]

    @property
    def holds(self) -> np.ndarray:
        """Whether the second and the third condition do; the first is met by the highest salient order."""
        return self.rises & self.has_exponent

    @property
    def num_salient(self) -> np.ndarray:
        """Salient interactions of a digit."""
        return np.asarray(self.conditions.num_salient).sum(-1)

    @property
    def is_said(self) -> np.ndarray:
        """Share of the orders 1 ... M of a digit whose bound is below the number of sets there are."""
        orders = np.arange(len(self.num_sets))
        inside = (orders > 0) & (orders <= np.asarray(self.conditions.highest_order)[:, None])
        below = np.asarray(self.conditions.bound) < self.num_sets
        return (inside & below).sum(-1) / np.maximum(inside.sum(-1), 1)


def measure(values: jax.Array) -> Measured:
    found = explain.sparsity_conditions(values)
    means = np.asarray(found.mean_values)
    drop = np.asarray(found.largest_drop) / np.maximum(np.ptp(means, axis=-1), 1e-30)
    n = means.shape[-1] - 1
    num_sets = np.array([math.comb(n, order) for order in range(n + 1)])
    return Measured(found, drop, drop <= LARGEST_DROP, np.isfinite(found.exponent), num_sets)


def growth(tables: list[jax.Array]) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Players, mean numbers of salient interactions, and the power of n that they grow with, with its error."""
    counts = np.array([np.asarray(explain.sparsity_conditions(table).num_salient).sum(-1) for table in tables])
    players = np.log2([table.shape[-1] for table in tables])
    # One line through each digit: the error is that of the digits and not of the grids.
    slopes = np.polyfit(np.log(players), np.log(np.maximum(counts, 1)), 1)[0]
    mean, error = mean_and_error(slopes)
    return players, counts, (float(mean), float(error))


# %%
def claims_of(measured: dict[str, Measured], powers: dict[str, tuple[float, float]], full_power: float) -> list[Claim]:
    """One line for each thing the theorem says, the trained MLP beside the controls."""

    def line(claim: str, published: str, of, digits: int = 2) -> Claim:
        show_all = lambda names: "; ".join(f"{name} {plus_minus(of(measured[name]), digits)}" for name in names)  # noqa: E731
        return Claim(claim, published, show_all((MLP, CNN)), show_all(CONTROLS))

    def exponents(one: Measured) -> np.ndarray:
        finite = np.asarray(one.conditions.exponent)[one.has_exponent]
        return finite if len(finite) else np.array([np.nan])

    n = len(measured[MLP].num_sets) - 1
    each = [
        line(f"1: highest salient order M of {n}", "far below n", lambda one: one.conditions.highest_order, 1),
        line("1: share of strength above M", "0", lambda one: one.conditions.strength_above, 3),
        line("2: largest drop of the mean score / range", "0", lambda one: one.drop, 3),
        line(f"2: share of digits with drops below {LARGEST_DROP:.0%}", "1", lambda one: one.rises),
        line("3: share of digits with an exponent p", "1", lambda one: one.has_exponent),
        line("3: p where there is one", "low", exponents),
        line("share of digits with all conditions", "1", lambda one: one.holds),
        line(f"salient interactions of {2**n - 1}", "few", lambda one: one.num_salient, 1),
        line("share of orders of which the bound says anything", "1", lambda one: one.is_said),
    ]
    rows = {name: f"{name} {show(*powers[name], 1)}" for name in measured}
    every = f"all sets {full_power:.1f}"
    last = Claim("power of n of their number", "low", f"{rows[MLP]}; {rows[CNN]}",
                 "; ".join([*(rows[name] for name in CONTROLS), every]))  # fmt: skip
    return [HEADER, *each, last]


def is_below(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether one mean is below the other by more than two standard errors of their difference."""
    (mean, error), (other, its_error) = mean_and_error(first), mean_and_error(second)
    return float(other - mean) > 2 * math.hypot(float(error), float(its_error))


def verdict(measured: dict[str, Measured]) -> list[str]:
    """What the numbers say, in sentences."""
    trained, lines = measured[MLP], []
    num_hold, num_digits = int(trained.holds.sum()), len(trained.holds)
    lines.append(f"The conditions hold for {num_hold} of {num_digits} digits of the trained MLP.")
    sparser = [name for name in CONTROLS if is_below(trained.num_salient, measured[name].num_salient)]
    denser = [name for name in CONTROLS if is_below(measured[name].num_salient, trained.num_salient)]
    same = [name for name in CONTROLS if name not in (*sparser, *denser)]
    for names, text in (
        (sparser, "fewer than"),
        (denser, "more than"),
        (same, "no fewer or more, within errors, than"),
    ):
        if names:
            lines.append(f"Its salient interactions are {text} those of the controls: {', '.join(names)}.")
    without = ", ".join(f"{int(measured[name].holds.sum())} ({name})" for name in CONTROLS)
    untrained = measured[UNTRAINED].holds
    is_learnt, is_given = is_below(untrained, trained.holds), untrained.mean() > 0.5
    text = "Training brings them." if is_learnt else "They need no training." if is_given else "Training does not help."
    lines.append(f"For the controls: {without}. {text}")
    held, rest = (trained.num_salient[side] for side in (trained.holds, ~trained.holds))
    if min(len(held), len(rest)) >= 5:  # fewer have no error to speak of
        text = "fewer" if is_below(held, rest) else "more" if is_below(rest, held) else "no difference within errors"
        lines.append(f"Digits that meet them have {held.mean():.1f}, the others {rest.mean():.1f}: {text}.")
    said = float(trained.is_said.mean())
    lines.append(
        f"The bound is below the number of sets at {said:.0%} of the orders: at this n it "
        + ("explains some of the sparsity." if said > 0.5 else "explains little of the sparsity." if said else
           "says nothing, and the sparsity is not of its making.")
    )  # fmt: skip
    return lines


def draw(measured: dict[str, Measured], counts: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Mean scores by players shown, salient interactions by order, and their number by players."""
    figure, grid = style.new_figure(1, 3, size=(14, 4.2))
    left, middle, right = grid[0]
    colours = dict(zip(measured, (style.RED, style.ORANGE, style.BLUE, style.GREEN, "grey"), strict=True))
    for name, one in measured.items():
        means = np.asarray(one.conditions.mean_values)
        scaled = means / np.abs(means[:, -1:])
        orders, options = np.arange(len(one.num_sets)), {"color": colours[name], "label": name}
        left.plot(orders, np.median(scaled, axis=0), ".-", **options)
        middle.plot(orders[1:], np.asarray(one.conditions.num_salient).mean(0)[1:], ".-", **options)
        players, number = counts[name]
        right.plot(players, number.mean(1), ".-", **options)
    trained = measured[MLP]
    bound = np.where(np.isfinite(trained.conditions.bound), trained.conditions.bound, np.nan)
    if np.isfinite(bound).any():
        middle.plot(orders[1:], np.nanmedian(bound, axis=0)[1:], ":", color=colours[MLP], label="bound, MLP")
    middle.plot(orders[1:], trained.num_sets[1:], "k--", label="all sets")
    right.plot(players, 2.0**players - 1, "k--", label="all sets")
    left.set(xlabel="players shown $m$", ylabel=r"$\bar u(m) / |\bar u(n)|$, median", ylim=(-1.5, 2.5))
    middle.set(ylabel="salient interactions", yscale="symlog")
    order_axis(middle, int(orders[-1]))
    right.set(xlabel="players $n$", ylabel="salient interactions", xscale="log", yscale="log")
    right.set_xticks(players, [f"{n:.0f}" for n in players])
    left.legend(fontsize=8)
    middle.legend(middle.lines[-2:], [line.get_label() for line in middle.lines[-2:]], fontsize=8)
    return figure


def main(smoke: bool = False, out: str = "out/sparsity_theorem") -> None:
    scale = SMOKE if smoke else FULL
    games = games_of(scale)
    measured = {name: measure(tables[-1]) for name, tables in games.items()}
    counts, powers = {}, {}
    for name, tables in games.items():
        players, number, powers[name] = growth(tables)
        counts[name] = players, number
    full_power = float(np.polyfit(np.log(players), np.log(2.0**players - 1), 1)[0])
    print()
    print_claims(claims_of(measured, powers, full_power))
    print()
    print("\n".join(verdict(measured)))
    save({"sparsity_theorem": draw(measured, counts)}, out)


# %%
if __name__ == "__main__":
    run_main(main, "The sparsity theorem, condition by condition.")
