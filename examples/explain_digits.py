# %% [markdown]
# # Explaining a digit classifier, with what the explanation is worth beside it
# A network's score on a digit, as a game of ten patches, is exactly a sum of AND and OR interactions. That this sum
# matches all 2^10 masked digits proves the code: it does so for a random function, too. What can fail is that few of
# them suffice, that the same ones are found in other digits, and that the decomposition is the only one. Each stands
# here beside networks that learnt nothing of digits (labels or pixels shuffled, untrained) and a random function of
# equal norm. The score is the log odds of the class that the network predicts; errors are over held-out digits, of one
# network each.

# %%
import functools
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from jaxrg import datasets, explain, interactions, nets, plot, training
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, plus_minus, print_claims, run_main, save, show

IMAGE_SHAPE, NUM_CLASSES, BATCH_SIZE = (28, 28), 10, 50
NOISE_BOUND = 0.02  # of q, as a share of |v(N) - v(0)|
MLP, CNN = "MLP", "CNN"
LABELS, PIXELS, UNTRAINED, RANDOM = "labels shuffled", "pixels shuffled", "untrained", "random function"
NUM_KEPT, NUM_LANES = 25, 24
NULLS = (LABELS, PIXELS, UNTRAINED, RANDOM)


class Scale(NamedTuple):
    """Size of the study."""

    num_train: int
    num_epochs: int
    widths: tuple[int, ...]  # of the MLP
    channels: tuple[int, ...]  # of the CNN
    grid: tuple[int, int]
    classes: tuple[int, ...]
    digits_per_class: int
    num_ambiguous: int  # digits whose decompositions are compared
    num_draws: int
    tolerance: float  # relative duality gap


FULL = Scale(1_000, 30, (128, 128, NUM_CLASSES), (4, 8), (2, 5), (0, 3, 7), 8, 4, 6, 1e-4)
SMOKE = Scale(200, 4, (32, NUM_CLASSES), (2,), (2, 3), (0, 3), 3, 2, 3, 1e-4)


# %%
@functools.partial(jax.jit, static_argnames=("net", "num_epochs"))
def train(net: nets.Net, inputs: jax.Array, labels: jax.Array, num_epochs: int) -> Any:
    """Parameters before and after training, ``[2, ...]``."""
    init_key, train_key = jax.random.split(jax.random.key(1))

    def loss_fn(key, params, batch):
        outputs = net.apply(params, batch[0])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]))

    params, epochs = net.init(init_key, inputs[:1]), (0, num_epochs)
    optimizer, data = optax.adam(1e-3), (inputs, labels)
    return training.train_checkpoints(train_key, loss_fn, optimizer, params, data, epochs=epochs, batch_size=BATCH_SIZE)


@functools.partial(jax.jit, static_argnames="net")
def predict(net: nets.Net, params: Any, inputs: jax.Array) -> jax.Array:
    return jnp.argmax(net.apply(params, inputs), axis=-1)


@functools.partial(jax.jit, static_argnames=("net", "grid"))
def games(
    net: nets.Net, params: Any, images: jax.Array, labels: jax.Array, baseline: jax.Array, grid: tuple[int, int]
) -> jax.Array:
    """The log odds of a class for every mask of every digit, ``[digits, 2**n]``, in the precision of the images."""

    options = {"baseline": baseline, "assignment": interactions.patches(IMAGE_SHAPE, grid)}

    def one(digit):
        score = functools.partial(interactions.log_odds, label=digit[1])
        game = interactions.masked_game(functools.partial(net.apply, params), digit[0], score=score, **options)
        return interactions.evaluate(game)

    # One digit after another, so that memory holds the masked copies of one.
    return jax.lax.map(one, (images, labels))


class Network(NamedTuple):
    """A trained network, or one that learnt nothing of digits, and the digits as it sees them."""

    net: nets.Net
    params: Any
    images: np.ndarray  # [digits, rows, columns] to explain
    baseline: np.ndarray
    labels: np.ndarray  # the classes it predicts for them
    accuracy: float  # on all held-out digits

    def values(self, grid: tuple[int, int], dtype: Any) -> jax.Array:
        """Its games, evaluated in this precision and returned in float64."""
        numbers = (self.params, self.images, self.baseline)
        params, images, baseline = jax.tree.map(lambda leaf: leaf.astype(dtype), numbers)
        return games(self.net, params, images, self.labels, baseline, grid).astype(jnp.float64)


def networks_of(train_set: datasets.Dataset, test_set: datasets.Dataset, rows: np.ndarray, scale: Scale):
    """MLP and CNN trained on digits, and MLPs that learnt other things or nothing."""
    mlp, cnn = nets.mlp(scale.widths), nets.cnn(scale.channels, NUM_CLASSES)
    images, labels = train_set.inputs, train_set.labels
    # The same permutation of pixels for training and held-out digits: as learnable, but a patch is no place any more.
    mix = functools.partial(datasets.shuffle_pixels, jax.random.key(2))
    mixed, mixed_labels = mix(images), datasets.shuffle_labels(jax.random.key(3), labels)
    runs = {MLP: (mlp, images, labels), CNN: (cnn, images, labels)}
    runs |= {LABELS: (mlp, images, mixed_labels), PIXELS: (mlp, mixed, labels)}
    params = {name: jax.device_get(train(*run, scale.num_epochs)) for name, run in runs.items()}
    runs[UNTRAINED], params[UNTRAINED] = runs[MLP], jax.tree.map(lambda leaf: leaf[::-1], params[MLP])
    networks = {}
    for name, (net, seen, _) in runs.items():
        held_out = mix(test_set.inputs) if name == PIXELS else test_set.inputs
        final = jax.tree.map(lambda leaf: leaf[-1], params[name])
        found = np.asarray(predict(net, final, held_out))
        accuracy = float((found == np.asarray(test_set.labels)).mean())
        baseline = np.asarray(seen).mean(axis=0)
        networks[name] = Network(net, final, np.asarray(held_out)[rows], baseline, found[rows], accuracy)
    return networks


# %%
class Explained(NamedTuple):
    """Games of some digits, their AND-OR interactions, and what there is to say about them."""

    values: jax.Array  # [digits, 2**n]
    result: interactions.and_or.AndOr
    matching: jax.Array  # [3] largest error of AND, OR and AND-OR interactions
    and_alone: jax.Array  # [digits] objective of AND interactions without extraction
    salient: jax.Array  # bool[digits, 2 * 2**n]
    num_salient: jax.Array  # [digits]
    num_salient_and: explain.NullComparison  # of AND interactions alone, beside random functions
    strengths: jax.Array  # [digits, 2 * (2**n - 1)], largest first
    missed: jax.Array  # [digits, 2 * (2**n - 1)] relative error where the strongest 1, 2, ... are kept
    spectrum: interactions.OrderStrengths  # AND and OR together


@jax.jit
def measure(values: jax.Array, result: interactions.and_or.AndOr) -> Explained:
    and_alone, or_alone = interactions.harsanyi(values), interactions.harsanyi_or(values)
    nothing, denoised = jnp.zeros_like(values), values + result.q
    matches = (
        explain.matching_error(values, explain.Decomposition(and_alone, nothing)),
        explain.matching_error(values, explain.Decomposition(nothing, or_alone)),
        explain.matching_error(denoised, result),
    )

    def count(tables):
        return jnp.sum(interactions.is_salient(interactions.harsanyi(tables)), axis=-1)

    salient = explain.salient_sets(result)
    return Explained(
        values=values,
        result=result,
        matching=jnp.stack([jnp.max(match.largest) for match in matches]),
        and_alone=jnp.sum(jnp.abs(and_alone), axis=-1),
        salient=salient,
        num_salient=jnp.sum(salient, axis=-1),
        num_salient_and=explain.compare_to_null(jax.random.key(5), count, values, explain.random_game),
        strengths=explain.sorted_strengths(result),
        missed=explain.sparsity_curve(denoised, result, jnp.arange(1, 2 * values.shape[-1] - 1)).relative,
        spectrum=jax.tree.map(
            jnp.add, interactions.order_strengths(result.and_), interactions.order_strengths(result.or_)
        ),
    )


def explain_all(networks: dict[str, Network], scale: Scale) -> dict[str, Explained]:
    """All networks, and random functions with the MLP's mean and variance in each digit."""
    values = {name: network.values(scale.grid, jnp.float64) for name, network in networks.items()}
    values[RANDOM] = explain.random_game(jax.random.key(4), values[MLP])
    results = interactions.and_or.extract(
        jnp.stack(list(values.values())), noise_bound=NOISE_BOUND, tolerance=scale.tolerance, num_lanes=NUM_LANES
    )
    explained = {}
    for row, (name, table) in enumerate(values.items()):
        own = jax.tree.map(lambda leaf, row=row: np.asarray(leaf)[row], results)
        explained[name] = jax.device_get(measure(table, own))
    return explained


# %%
def beside(statistic: Callable[[Explained], Any], explained: dict[str, Explained], digits: int = 1) -> str:
    """The same statistic of the null models."""
    return "; ".join(f"{name} {plus_minus(statistic(explained[name]), digits)}" for name in NULLS)


def matching(explained: dict[str, Explained]) -> list[Claim]:
    """Universal matching over all masks."""
    num_games, num_masks = explained[MLP].values.shape
    return [
        Claim(
            f"{kind}: largest error, {num_games} digits x {num_masks} masks",
            "0, of any function",
            " ".join(f"{name} {explained[name].matching[row]:.0e}" for name in (MLP, CNN)),
            f"{RANDOM} {explained[RANDOM].matching[row]:.0e}: proves code, not faithfulness",
        )
        for row, kind in enumerate(("AND match v", "OR match v", "AND-OR match v + q"))
    ]


def sparsity(explained: dict[str, Explained]) -> list[Claim]:
    """How many interactions are salient, and how far the strongest go."""
    size, claims = explained[MLP].values.shape[-1], []
    for name in (MLP, CNN):
        one, null = explained[name], explained[name].num_salient_and
        others = "; ".join(f"{other} {explained[other].num_salient_and.value:.0f}" for other in NULLS[:3])
        less = f"difference {null.difference:+.0f} ± {null.difference_error:.0f}"
        alone = f"{RANDOM} {null.null:.0f}, {less}; {others}"
        kept = f"error of the strongest {NUM_KEPT}"
        salient = beside(lambda other: other.num_salient, explained)
        missed = beside(lambda other: other.missed[:, NUM_KEPT - 1], explained, 3)
        claims += [
            Claim(f"{name}: salient AND-OR of {2 * size}", "20-26", plus_minus(one.num_salient, 1), salient),
            Claim(f"{name}: salient AND of {size}", "few", f"{null.value:.0f} ± {null.error:.0f}", alone),
            Claim(f"{name}: {kept} / spread", "small", plus_minus(one.missed[:, NUM_KEPT - 1], 3), missed),
        ]
    return claims


# %%
def extraction(explained: dict[str, Explained], scale: Scale) -> list[Claim]:
    """The duality gap, and how far the optimum is from being one decomposition."""
    one = explained[MLP]
    gaps = np.stack([other.result.relative_gap for other in explained.values()])
    some = slice(0, None, -(-len(one.values) // scale.num_ambiguous))
    rows, optimum = jnp.asarray(one.values[some]), jax.tree.map(lambda leaf: leaf[some], one.result)
    options = {"noise_bound": NOISE_BOUND, "num_draws": scale.num_draws, "num_lanes": NUM_LANES}
    options |= {"perturbation": 1e-2, "tolerance": 1e-3}  # finished well below what tells the draws apart
    ambiguity = explain.extraction_ambiguity(jax.random.key(6), rows, optimum, **options)
    common, gap = plus_minus(ambiguity.common, 2), f"{gaps.max():.1e}, {one.result.iterations.mean():.0f} steps"
    without = f"AND alone: {plus_minus(one.and_alone / one.result.objective, 1)} x the objective"
    freedom = f"objectives within {float(jnp.max(ambiguity.excess)):.0e}; in each of {scale.num_draws}: {common} of all"
    text = "salient sets of equally sparse decompositions: Jaccard"
    return [
        Claim(f"AND-OR is the sparsest: largest duality gap of {gaps.size}", "not given (SGD)", gap, without),
        Claim(text, "1 (taken as unique)", plus_minus(ambiguity.jaccard, 2), freedom),
    ]


# %%
def pair_means(pairwise: np.ndarray, is_same: np.ndarray):
    """Mean share within classes, between classes and their difference, with jackknife errors ``[3, 2]``."""
    # Of a digit with itself, and where nothing is salient, there is no share.
    shares = np.where(np.eye(len(is_same), dtype=bool), np.nan, pairwise)

    def means(kept: np.ndarray) -> np.ndarray:
        part, same = shares[np.ix_(kept, kept)], is_same[np.ix_(kept, kept)]
        within, between = np.nanmean(part[same]), np.nanmean(part[~same])
        return np.array([within, between, within - between])

    everyone = np.arange(len(shares))
    # Pairs that share a digit are not independent: leave out digits, not pairs.
    left_out = np.array([means(np.delete(everyone, i)) for i in everyone])
    errors = np.sqrt((len(everyone) - 1) * left_out.var(axis=0))
    return np.stack([means(everyone), errors], axis=1)


def transfer(explained: dict[str, Explained], digits: np.ndarray) -> list[Claim]:
    """Salient interactions of a digit found again in another of its class."""
    measure_transfer, claims, is_same = jax.jit(explain.sample_transfer), [], digits[:, None] == digits[None]
    found = {name: measure_transfer(one.salient) for name, one in explained.items()}
    means = {name: pair_means(np.asarray(one.pairwise), is_same) for name, one in found.items()}
    for name in (MLP, CNN):
        within, between, less = (show(*pair) for pair in means[name])
        nulls = "; ".join(f"{null} {means[null][0, 0]:.2f}, chance {found[null].chance:.2f}" for null in NULLS)
        control = f"other classes {between}, less by {less}; chance at equal orders {found[name].chance:.2f}; {nulls}"
        claims.append(Claim(f"{name}: salient in a digit, also in another of its class", "most", within, control))
    return claims


# %%
@jax.jit
def floor_of(single: jax.Array, values: jax.Array) -> tuple[explain.MeasuredNoise, explain.NoiseFloor]:
    """Noise of float32 games, and the floor of the first of them."""
    measured = explain.measured_noise(single, values)
    rounding = explain.rounding_by_order(values[0].astype(jnp.float32))
    return measured, explain.noise_floor(interactions.harsanyi(values[0]), measured.variance[0], rounding=rounding)


def print_floor(floor: explain.NoiseFloor) -> None:
    """One line for each order, the threshold of salience beside it."""
    threshold = float(floor.threshold)
    print(f"salience threshold {threshold:.3e}")
    print("order  noise sigma  rounding rms  largest noise  median |I|   noise / threshold")
    for order, (sigma, rounding, largest, median) in enumerate(zip(*floor[:4], strict=True)):
        ratio = largest / threshold if threshold > 0 else math.inf
        cells = f"{order:>5}  {sigma:11.3e}  {rounding:12.3e}  {largest:13.3e}  {median:10.3e}  {ratio:18.2e}"
        print(cells + "  salience is noise" * bool(floor.is_below[order]))


def noise(explained: dict[str, Explained], networks: dict[str, Network], grid: tuple[int, int]) -> list[Claim]:
    """What float32 does to interactions, and the floor by order beside the salience threshold of one digit."""
    claims = []
    for name in (MLP, CNN):
        measured, floor = jax.device_get(floor_of(networks[name].values(grid, jnp.float32), explained[name].values))
        print(f"\nnoise of the float32 {name}, first digit, AND interactions:")
        print_floor(floor)
        ratio = plus_minus(measured.and_by_order[:, -1] / measured.predicted[:, -1], 2)
        sigma, highest = np.sqrt(measured.variance).mean(), floor.largest[-1] / floor.threshold
        control = f"sigma {sigma:.1e}; largest noise of order n / salience threshold: {highest:.0e}"
        claims.append(Claim(f"{name}: float32 noise of order n / (2^(n/2) sigma)", "1 if independent", ratio, control))
    return claims


def shapley(one: Explained) -> Claim:
    """Every interaction shared equally among its players gives the Shapley values."""
    direct = np.asarray(jax.jit(interactions.shapley_values)(one.values + one.result.q))
    games = [jax.tree.map(lambda leaf, row=row: leaf[row], one.result) for row in range(len(one.values))]
    views = [interactions.merge_and_or(game) for game in games]
    shared = np.stack([view.attributions() for view in views])
    alone = np.stack([view.rows(np.flatnonzero(view.kinds != "OR")).attributions() for view in views])
    errors = [np.abs(sums - direct).max() for sums in (shared, alone)]
    text = "sum of I(S) / |S| against Shapley values: largest error"
    return Claim(text, "0", f"{errors[0]:.0e}", f"without the OR interactions: {errors[1]:.2f}")


# %%
def draw_sparsity(explained: dict[str, Explained]) -> Figure:
    """Sorted strengths, and what the strongest of them miss, mean over digits."""
    figure, grid = style.new_figure(1, 2, size=(11, 4.2))
    left, right = grid[0]
    for (name, one), colour in zip(explained.items(), (*style.SERIES, style.GREY), strict=False):
        options = {"linestyle": "--" if name in NULLS else "-", "color": colour, "label": name}
        ranks = np.arange(1, one.strengths.shape[1] + 1)
        left.loglog(ranks, (one.strengths / one.strengths[:, :1]).mean(axis=0), **options)
        right.loglog(ranks, one.missed.mean(axis=0), **options)
    left.axhline(interactions.SALIENT_FRACTION, color="grey", linewidth=0.8, label="salience threshold")
    left.set(xlabel="rank", ylabel="|I| / max |I|", ylim=(1e-4, 1.5), title="sorted AND-OR strengths")
    right.set(xlabel="interactions kept, strongest first", ylabel="r.m.s. error / spread of v + q", ylim=(1e-3, None))
    right.set_title("reconstruction of all masks")
    left.legend(fontsize=8)
    return figure


def draw(
    explained: dict[str, Explained], view: interactions.InteractionView, image: np.ndarray, grid: tuple[int, int]
) -> dict[str, Figure]:
    """Figures of the first digit, and of all digits together."""
    unit = "log odds"
    return {
        "waterfall": plot.interaction_waterfall(view, unit=unit),
        "upset": plot.interaction_upset(view, unit=unit),
        "network": plot.interaction_network(view, unit=unit),
        "heat_map": plot.interaction_heat_map(image, interactions.patches(IMAGE_SHAPE, grid), view, unit=unit),
        "spectrum": plot.order_spectrum(
            explain.mean_normalized(explained[MLP].spectrum),
            null_strengths=explain.mean_normalized(explained[RANDOM].spectrum),
            null_label=RANDOM,
            unit="mean over orders",
        ),
        "sparsity": draw_sparsity(explained),
    }


def main(smoke: bool = False, out: str = "out/explain_digits") -> None:
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    start, scale = time.perf_counter(), SMOKE if smoke else FULL
    train_set, test_set = datasets.split(jax.random.key(0), datasets.mnist_5k(), scale.num_train)
    digits = np.asarray(test_set.labels)
    rows = np.concatenate([np.flatnonzero(digits == label)[: scale.digits_per_class] for label in scale.classes])
    with jax.enable_x64(True):
        networks = networks_of(train_set, test_set, rows, scale)
        accuracies = ", ".join(f"{name} {network.accuracy:.3f}" for name, network in networks.items())
        print(f"held-out accuracy: {accuracies} ({time.perf_counter() - start:.0f} s)", flush=True)
        explained = explain_all(networks, scale)
        print(f"interactions of {len(explained)} x {len(rows)} games: {time.perf_counter() - start:.0f} s", flush=True)
        first = jax.tree.map(lambda leaf: leaf[0], explained[MLP].result)
        names = [f"{row}{column}" for row in "ABCDEFGH"[: scale.grid[0]] for column in range(1, scale.grid[1] + 1)]
        view = interactions.merge_and_or(first, names=names)
        print(f"\na {digits[rows[0]]}, log odds of {networks[MLP].labels[0]}:\n{view.table(10)}")
        text = view.to_json()
        is_same = bool(np.array_equal(interactions.InteractionView.from_json(text).values, view.values))
        (folder / "interactions.json").write_text(text)
        print(f"interactions.json: {len(text):,} bytes, read back {'exactly' if is_same else 'with differences'}")
        claims = [HEADER, *matching(explained), *sparsity(explained), *extraction(explained, scale)]
        claims += [*transfer(explained, digits[rows]), *noise(explained, networks, scale.grid), shapley(explained[MLP])]
        print()
        print_claims(claims)
        save(draw(explained, view, np.asarray(networks[MLP].images[0]), scale.grid), folder, dpi=120)
    print(f"{time.perf_counter() - start:.0f} s")


# %%
if __name__ == "__main__":
    run_main(main, "Explain a digit classifier by its interactions, beside null models.")
