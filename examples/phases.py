# %% [markdown]
# # Phases of matter, beside what can be learned of them
# A network is shown spins of the Ising torus and learns whether they are colder than the critical temperature; or where
# best to cut the line of temperatures; or the temperature itself. The energy is all that a sample says of its
# temperature, and its exact distribution on a finite torus says how well the best possible network does each of these.
# So every network here stands beside its ceiling, and whatever is measured above would be leakage. What the ceiling
# also shows: where labels say that the transition is, a perfect classifier puts it, also where the labels are wrong.
# Networks that saw none but zero and infinite temperature, or no label at all, are asked where they put it.

# %%
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jaxrg import datasets, exact, nets
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _phases import (
    DISORDERED,
    ORDERED,
    TC,
    Crossing,
    cross_entropy,
    crossing,
    crossing_with_error,
    cuts_and_temperature,
    levels,
    logistic,
    resampled,
    sample,
    table,
    temperatures,
    train,
)
from _study import HEADER, Claim, band, mean_and_error, print_claims, run_main, save, show

WRONG_CUT = 2.0


class Scale(NamedTuple):
    """Size of the study."""

    num_temperatures: int
    sizes: tuple[int, ...]
    chains: tuple[tuple[int, int], ...]  # of each size, to train on and to test with, at each temperature
    num_epochs: tuple[int, ...]
    num_seeds: int
    channels: tuple[int, ...]  # of the convolutions; without any, a perceptron
    close: int  # number of the size that is looked at closely


FULL = Scale(101, (10, 20, 40), ((256, 1024), (256, 768), (128, 256)), (4, 4, 3), 3, (8, 8), 1)
SMOKE = Scale(21, (8,), ((64, 64),), (1,), 1, (), 0)


class Spins(NamedTuple):
    """What networks of one size are trained on and tested with, and the exact distribution of their energies."""

    size: int
    at: np.ndarray
    train: np.ndarray  # [temperatures, chains, L, L]
    test: np.ndarray  # likewise, of other chains
    table: jax.Array  # [temperatures, levels]

    @property
    def flat(self) -> np.ndarray:
        return self.train.reshape(-1, self.size, self.size)

    def targets(self, of_temperature: Any) -> np.ndarray:
        """What belongs to each temperature, once for each training sample."""
        return np.repeat(of_temperature, self.train.shape[1], axis=0)


def spins_of(scale: Scale, number: int) -> Spins:
    size, (num_train, num_test), at = scale.sizes[number], scale.chains[number], temperatures(scale.num_temperatures)
    spins = sample(jax.random.key(size), size, num_train + num_test, at)
    return Spins(size, at, spins[:, :num_train], spins[:, num_train:], table(size, at))


def network(scale: Scale, num_outputs: int) -> nets.Net:
    return nets.cnn(scale.channels, num_outputs) if scale.channels else nets.mlp((16, num_outputs))


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Probability of the second of two classes."""
    return 1 / (1 + np.exp(np.clip(outputs[..., 0] - outputs[..., 1], -80, 80)))


# %%
class Supervised(NamedTuple):
    """A classifier with labels, of one size and one seed."""

    shares: np.ndarray  # [temperatures, chains] said to be disordered
    gap: float  # accuracy of the best classifier on the same samples less its own
    gap_error: float
    accuracy: float


def supervise(spins: Spins, scale: Scale, number: int, seed: int) -> tuple[Supervised, float]:
    """A trained classifier, and the accuracy before training."""
    labels = (spins.at > TC).astype(np.int32)
    net, num_epochs = network(scale, 2), scale.num_epochs[number]
    before, after = train(jax.random.key(seed), net, cross_entropy, spins.flat, spins.targets(labels), num_epochs)
    best = np.argmax(np.asarray(exact.optimal_classifier(spins.table, labels).posterior), axis=1)
    is_right = softmax(after(spins.test)) > 0.5
    is_right = is_right == (labels[:, None] == DISORDERED)
    lead = (best[levels(spins.test)] == labels[:, None]).astype(float) - is_right
    untrained = (softmax(before(spins.test)) > 0.5) == (labels[:, None] == DISORDERED)
    error = lead.std() / np.sqrt(lead.size)
    found = Supervised(softmax(after(spins.test)), float(lead.mean()), float(error), float(is_right.mean()))
    return found, float(untrained.mean())


def shuffled_accuracy(spins: Spins, scale: Scale, number: int) -> float:
    """Of a classifier that learned labels in another order."""
    labels = (spins.at > TC).astype(np.int32)
    targets = datasets.shuffle_labels(jax.random.key(5), jnp.asarray(spins.targets(labels)))
    after = train(jax.random.key(6), network(scale, 2), cross_entropy, spins.flat, targets, 1)[1]
    return float(((softmax(after(spins.test)) > 0.5) == (labels[:, None] == DISORDERED)).mean())


def of_energy(spins: Spins) -> tuple[float, float]:
    """Accuracy of a logistic function of the energy alone, and its error."""
    labels = (spins.at > TC).astype(float)
    scaled = lambda states: levels(states) / spins.size**2  # noqa: E731
    weights = logistic(scaled(spins.flat), spins.targets(labels))
    is_right = (scaled(spins.test) * weights[0] + weights[1] > 0) == (labels[:, None] > 0.5)
    return float(is_right.mean()), float(is_right.std() / np.sqrt(is_right.size))


def from_the_ends(spins: Spins, num_samples: int, seed: int) -> np.ndarray:
    """Shares said to be disordered ``[temperatures, chains]`` by a perceptron that saw T = 0 and T = ∞ alone."""
    random = np.random.default_rng(seed)
    hot = random.choice(np.array([-1, 1], np.int8), (num_samples, spins.size, spins.size))
    both, labels = np.concatenate([np.ones_like(hot), hot]), np.repeat([ORDERED, DISORDERED], num_samples)
    after = train(jax.random.key(seed), nets.mlp((64, 2)), cross_entropy, both, labels.astype(np.int32), 10)[1]
    return softmax(after(spins.test))


class Unlabelled(NamedTuple):
    """Confusion and prediction at one size, each measured and exact."""

    cuts: np.ndarray
    confusion: np.ndarray  # [cuts] accuracy on the test samples
    optimal_confusion: np.ndarray
    peak: tuple[float, float]  # and its error
    divergence: np.ndarray  # [temperatures] predicted less true temperature
    optimal_divergence: np.ndarray
    steepest: tuple[float, float]  # where it grows fastest, and its error


def most_prominent(curve: np.ndarray) -> int:
    """Where a curve rises most above its lowest points on either side: the middle peak, as both ends are trivial."""
    lowest = np.maximum(np.minimum.accumulate(curve), np.minimum.accumulate(curve[::-1])[::-1])
    return int(np.argmax(curve - lowest))


def without_labels(spins: Spins, scale: Scale, number: int) -> Unlabelled:
    """One network learns all cuts of the line of temperatures, and the temperature."""
    at = spins.at
    cuts, middle = (at[1:] + at[:-1]) / 2, (at[0] + at[-1]) / 2
    is_below = at[:, None] < cuts
    targets = spins.targets(np.concatenate([is_below, (at - middle)[:, None]], axis=1).astype(np.float32))
    net, loss = network(scale, len(cuts) + 1), cuts_and_temperature
    outputs = train(jax.random.key(10), net, loss, spins.flat, targets, scale.num_epochs[number])[1](spins.test)
    is_right = (outputs[..., :-1] > 0) == is_below[:, None]  # [temperatures, chains, cuts]
    curves = np.stack([resampled(1, is_right[..., cut].astype(float)).mean(1) for cut in range(len(cuts))], axis=1)
    peaks = cuts[[most_prominent(curve) for curve in curves]]
    confusion = is_right.mean((0, 1))
    predicted = outputs[..., -1] + middle
    slopes = np.gradient(resampled(2, predicted) - at, at, axis=1)
    steepest = at[np.argmax(slopes, axis=1)]
    divergence = predicted.mean(1) - at
    best = exact.optimal_predictor(spins.table, at.astype(np.float32))
    return Unlabelled(
        cuts,
        confusion,
        np.asarray(exact.optimal_confusion(spins.table))[1:-1],
        (float(cuts[most_prominent(confusion)]), float(peaks.std())),
        divergence,
        np.asarray(best.means) - at,
        (float(at[np.argmax(np.gradient(divergence, at))]), float(steepest.std())),
    )


# %%
class Sized(NamedTuple):
    """Places and slopes of the crossings of one size: measured with errors, and of the best classifier."""

    size: int
    place: tuple[float, float]
    slope: tuple[float, float]
    optimal: Crossing
    ends: tuple[float, float]  # of those that saw T = 0 and ∞


def over_seeds(found: list[tuple[Crossing, Crossing]], field: int) -> tuple[float, float]:
    """Mean over seeds; its error is that of the samples, which they share, beside that of the seeds."""
    mean, spread = mean_and_error([value[field] for value, _ in found])
    return float(mean), float(np.hypot(spread, np.mean([error[field] for _, error in found])))


def extrapolated(values: list[tuple[float, float]], sizes: tuple[int, ...]) -> tuple[float, float]:
    """Limit of a line in 1/L through values with errors; of one size, the value itself."""
    if len(sizes) < 2:
        return values[0]
    x, y, errors = 1 / np.array(sizes), *np.array(values).T
    design = np.stack([np.ones_like(x), x], axis=1) / errors[:, None]
    covariance = np.linalg.inv(design.T @ design)
    return float((covariance @ design.T @ (y / errors))[0]), float(covariance[0, 0] ** 0.5)


def exponent(values: list[tuple[float, float]], sizes: tuple[int, ...]) -> tuple[float, float]:
    """ν from slopes that grow as L to the 1/ν; one size does not say."""
    if len(sizes) < 2:
        return np.nan, np.nan
    logs, errors = np.log([value for value, _ in values]), np.array([error / value for value, error in values])
    x = np.log(sizes)
    x = x - np.average(x, weights=errors**-2)
    inverse = np.sum(x * logs / errors**2) / np.sum(x**2 / errors**2)
    return float(1 / inverse), float(np.sum(x**2 / errors**2) ** -0.5 / inverse**2)


def sized(spins: Spins, runs: list[Supervised], num_seeds: int) -> Sized:
    at, labels = spins.at, (spins.at > TC).astype(np.int32)
    found = [crossing_with_error(run.shares, at) for run in runs]
    ends = [crossing_with_error(from_the_ends(spins, 2048, seed), at) for seed in range(num_seeds)]
    best = crossing(np.asarray(exact.optimal_classifier(spins.table, labels).outputs[:, DISORDERED]), at)
    return Sized(spins.size, over_seeds(found, 0), over_seeds(found, 1), best, over_seeds(ends, 0))


def wrongly_cut(spins: Spins) -> float:
    """Where the best classifier turns if the labels say that the transition is elsewhere."""
    labels = (spins.at > WRONG_CUT).astype(np.int32)
    return crossing(np.asarray(exact.optimal_classifier(spins.table, labels).outputs[:, DISORDERED]), spins.at).place


# %%
def claims_of(
    spins: Spins,
    runs: list[Supervised],
    untrained: list[float],
    shuffled: float,
    found: Unlabelled,
    by_size: list[Sized],
) -> list[Claim]:
    labels = (spins.at > TC).astype(np.int32)
    ceiling, size = float(exact.optimal_classifier(spins.table, labels).accuracy), spins.size
    accuracy, spread = mean_and_error([run.accuracy for run in runs])
    sampling = np.sqrt(ceiling * (1 - ceiling) / runs[0].shares.size)
    gap, gap_spread = mean_and_error([100 * run.gap for run in runs])
    gap_error = np.hypot(gap_spread, 100 * np.mean([run.gap_error for run in runs]))
    sizes = tuple(one.size for one in by_size)
    tc, nu = extrapolated([one.place for one in by_size], sizes), exponent([one.slope for one in by_size], sizes)
    optimal_nu = exponent([(one.optimal.slope, one.slope[1]) for one in by_size], sizes)[0]
    of_ends = extrapolated([one.ends for one in by_size], sizes)
    middle = most_prominent(found.optimal_confusion)
    steepest = spins.at[np.argmax(np.gradient(found.optimal_divergence, spins.at))]
    energy = of_energy(spins)
    return [
        Claim(
            f"accuracy at L = {size}, ceiling {ceiling:.4f}",
            "none beside a ceiling",
            show(accuracy, np.hypot(spread, sampling), 4),
            f"energy alone {show(*energy, 4)}; untrained {np.mean(untrained):.2f}; labels shuffled {shuffled:.2f}",
        ),
        Claim(
            "best classifier's lead on the same samples",
            ">= 0 (ceiling)",
            f"{show(gap, gap_error, 3)} points",
            f"energy alone {100 * (ceiling - energy[0]):.2f} ± {100 * energy[1]:.2f} points",
        ),
        Claim(
            f"Tc where labels were right, L = {sizes} to ∞",
            "2.266 ± 0.002 (Carrasquilla & Melko 2017)",
            show(*tc, 4),
            f"labels cut at T = {WRONG_CUT}: best classifier turns at {wrongly_cut(spins):.3f}",
        ),
        Claim(
            "ν from the slopes there",
            "1.0 ± 0.2 (Carrasquilla & Melko 2017)",
            show(*nu),
            f"best classifier {optimal_nu:.2f}; exact 1",
        ),
        Claim(
            "Tc of perceptrons that saw T = 0 and ∞ alone",
            "found (2501.05547)",
            show(*of_ends, 4),
            ", ".join(f"L = {one.size}: {show(*one.ends, 3)}" for one in by_size),
        ),
        Claim(
            f"confusion peaks at T, L = {size}",
            "near Tc (van Nieuwenburg et al. 2017)",
            show(*found.peak, 3),
            f"best classifier {found.cuts[middle]:.3f}, Tc {TC:.4f}",
        ),
        Claim(
            "largest distance of the confusion curve from the best",
            ">= 0 (ceiling)",
            f"{100 * np.max(found.optimal_confusion - found.confusion):.2f} points",
            f"sampling error of one cut {100 * sampling:.2f} points",
        ),
        Claim(
            f"predicted T departs fastest at T, L = {size}",
            "near Tc (Schäfer & Lörch 2019)",
            show(*found.steepest, 3),
            f"best predictor {steepest:.3f}",
        ),
    ]


def draw(spins: Spins, runs: list[Supervised], found: Unlabelled, by_size: list[Sized]) -> Figure:
    """Each method beside its optimum; and the crossings by size."""
    figure, grid = style.new_figure(2, 2, size=(11, 8))
    (outputs, confusion), (divergence, sizes) = grid
    at, labels = spins.at, (spins.at > TC).astype(np.int32)
    best = exact.optimal_classifier(spins.table, labels)
    curve, error = mean_and_error([run.shares.mean(1) for run in runs])
    band(outputs, at, curve, error, style.BLUE, label=f"network, L = {spins.size}")
    outputs.plot(at, np.asarray(best.outputs[:, DISORDERED]), "k--", label="best classifier")
    outputs.set(xlabel="$T/J$", ylabel="mean output: disordered")
    confusion.plot(found.cuts, found.confusion, color=style.BLUE, label="network")
    confusion.plot(found.cuts, found.optimal_confusion, "k--", label="best classifiers")
    confusion.set(xlabel="cut at $T/J$", ylabel="accuracy")
    divergence.plot(at, found.divergence, color=style.BLUE, label="network")
    divergence.plot(at, found.optimal_divergence, "k--", label="best predictor")
    divergence.set(xlabel="$T/J$", ylabel="mean predicted less true $T/J$")
    inverse = [1 / one.size for one in by_size]
    for name, colour, values in (
        ("labels at Tc", style.BLUE, [one.place for one in by_size]),
        ("T = 0 and ∞ alone", style.ORANGE, [one.ends for one in by_size]),
    ):
        place, error = np.array(values).T
        sizes.errorbar(inverse, place, error, fmt="o", color=colour, label=name, capsize=3)
        limit, limit_error = extrapolated(values, tuple(one.size for one in by_size))
        sizes.errorbar([0], [limit], [limit_error], fmt="s", color=colour, capsize=3, mfc="white")
    sizes.plot(inverse, [one.optimal.place for one in by_size], "k+", ms=10, label="best classifier, labels at Tc")
    sizes.set(xlabel="$1/L$ (squares: extrapolated)", ylabel="$T/J$ where the output is one half")
    for axes in (outputs, confusion, divergence):
        axes.axvline(TC, color="grey", lw=0.8)
    sizes.axhline(TC, color="grey", lw=0.8)
    for axes in grid.ravel():
        axes.legend(fontsize=8)
    return figure


def main(smoke: bool = False, out: str = "out/phases") -> None:
    scale, start = SMOKE if smoke else FULL, time.time()
    by_size, closely = [], None
    for number, size in enumerate(scale.sizes):
        spins = spins_of(scale, number)
        pairs = [supervise(spins, scale, number, seed) for seed in range(scale.num_seeds)]
        runs, untrained = [run for run, _ in pairs], [accuracy for _, accuracy in pairs]
        by_size.append(sized(spins, runs, scale.num_seeds))
        if number == scale.close:
            closely = (
                spins,
                runs,
                untrained,
                shuffled_accuracy(spins, scale, number),
                without_labels(spins, scale, number),
            )
        print(
            f"    L = {size}: accuracy {np.mean([run.accuracy for run in runs]):.4f}, {time.time() - start:.0f} s",
            flush=True,
        )
    assert closely is not None
    spins, runs, untrained, shuffled, found = closely
    print()
    print_claims([HEADER, *claims_of(spins, runs, untrained, shuffled, found, by_size)])
    lead, error = np.mean([run.gap for run in runs]), np.mean([run.gap_error for run in runs])
    leaks = lead < -3 * error or np.any(
        found.confusion > found.optimal_confusion + 4 * 0.5 / spins.test[..., 0, 0].size ** 0.5
    )
    print(f"\n{'Something leaks' if leaks else 'Nothing leaks'}: in the lead and in the confusion curve.")
    value, error = extrapolated([one.ends for one in by_size], tuple(one.size for one in by_size))
    verdict = "is" if abs(value - TC) < 3 * error else "is not"
    print(f"Labels put the crossing where they change; from the ends alone it {verdict} at Tc within three errors.")
    save({"phases": draw(spins, runs, found, by_size)}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Phases of matter, beside what can be learned of them.")
