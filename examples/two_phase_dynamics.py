# %% [markdown]
# # Two phases of learning, order by order
# A network before training is said to have interactions of medium order, spindle-shaped. Training first removes all but
# the low orders, then the order rises again, and that is when test and training loss part. Here five seeds of each
# network are trained on small sets of real data, their exact interactions followed through every checkpoint, and both
# turns found by the same rule: the knot of a broken line over the logarithm of the epoch. Controls: the same outputs
# dealt out to random masks, labels that carry no information, turns paired with those of other runs, and a damping by
# order with as many parameters as the theory.

# %%
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import datasets, nets
from jaxrg.explain import (
    independent_interactions_spectrum,
    independent_outputs_spectrum,
    interactions_of_samples,
    mean_normalized,
    mean_order,
)
from jaxrg.explain.two_phase import fit_noise
from jaxrg.interactions import features, harsanyi, num_players_of, order_strengths, patches
from jaxrg.stats import bootstrap, turning_point
from jaxrg.training import checkpoint_epochs, train_checkpoints

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, mean_and_error, plus_minus, print_claims, run_main, save
from _two_phase_figures import noise_fit, order_dynamics, spindles, turn_scatter
from _two_phase_helpers import correlations, damped_fit, peak_order, proposition

TOLERANCE = 0.05  # of a spectrum with mean one: what the theory is asked to reach
WIDTHS = (58, 16, 26)  # of the table, printed as it is measured


class Study(NamedTuple):
    """One network on one data set."""

    net: nets.Net
    train: datasets.Dataset
    test: datasets.Dataset
    assignment: np.ndarray
    num_epochs: int
    learning_rate: float


class Run(NamedTuple):
    """What a study measured, leading axes [seeds, checkpoints]."""

    epochs: np.ndarray
    totals: jax.Array  # [..., samples, n + 1] strengths by order
    train_loss: jax.Array  # [..., samples]
    test_loss: jax.Array
    accuracy: jax.Array  # [...] on the test set
    final: jax.Array  # [seeds, samples, 2**n] interactions at the last checkpoint


# %%
def halved(dataset: datasets.Dataset) -> datasets.Dataset:
    """28x28 images as 14x14 averages."""
    images = dataset.inputs.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    return dataset._replace(inputs=images)


def studies(smoke: bool) -> dict[str, Study]:
    """MNIST, Fashion-MNIST where it is installed, and breast cancer; perceptrons and small convolutional networks."""
    keys = jax.random.split(jax.random.key(20), 4)
    size, num_test = (60, 100) if smoke else (300, 1000)
    grid = patches((14, 14), (2, 2) if smoke else (3, 3))
    num_epochs = 6 if smoke else 250
    image_sets = {"MNIST": datasets.mnist_5k()}
    if Path(datasets.FASHION_MNIST_FOLDER).is_dir():
        image_sets["Fashion"] = datasets.split(keys[0], datasets.fashion_mnist(), 5000, 1)[0]
    chosen = {}
    for name, images in image_sets.items():
        train, test = datasets.split(keys[1], halved(images), size, num_test)
        perceptron, convolutional = nets.mlp((16, 10) if smoke else (64, 64, 10)), nets.cnn((8, 16), 10)
        chosen[f"{name} MLP"] = Study(perceptron, train, test, grid, num_epochs, 1e-3)
        if smoke:
            return chosen
        chosen[f"{name} CNN"] = Study(convolutional, train, test, grid, 150, 2e-3)
    tumours = datasets.breast_cancer(is_standardized=True)
    # The first ten features are the means; the others are their errors and extremes.
    tumours = tumours._replace(inputs=tumours.inputs[:, :10])
    train, test = datasets.split(keys[2], tumours, 120, 400)
    chosen["cancer MLP"] = Study(nets.mlp((64, 64, 2)), train, test, features(10), 600, 1e-3)
    train, test = chosen["MNIST MLP"].train, chosen["MNIST MLP"].test
    shuffled = train._replace(labels=datasets.shuffle_labels(keys[3], train.labels))
    chosen["MNIST MLP, labels shuffled"] = chosen["MNIST MLP"]._replace(train=shuffled)
    return chosen


def measure(study: Study, num_seeds: int, num_checkpoints: int, num_samples: int) -> Run:
    """Train all seeds, then losses and exact interactions at every checkpoint."""
    epochs = checkpoint_epochs(study.num_epochs, num_checkpoints)
    optimizer = optax.adam(study.learning_rate)
    train, test, net = study.train, study.test, study.net

    def losses(params, dataset):
        return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, dataset.inputs), dataset.labels)

    def loss_fn(key, params, batch):
        return jnp.mean(losses(params, train._replace(inputs=batch[0], labels=batch[1])))

    def one_seed(key):
        init_key, train_key = jax.random.split(key)
        params = net.init(init_key, train.inputs[:1])
        data = (train.inputs, train.labels)
        return train_checkpoints(train_key, loss_fn, optimizer, params, data, epochs=epochs, batch_size=20)

    def interactions(params):
        return interactions_of_samples(
            lambda batch: net.apply(params, batch),
            train.inputs[:num_samples],
            train.labels[:num_samples],
            baseline=train.inputs.mean(axis=0),
            assignment=study.assignment,
        )

    def measurements(params):
        is_right = jnp.argmax(net.apply(params, test.inputs), -1) == test.labels
        totals = order_strengths(interactions(params)).total
        return totals, losses(params, train), losses(params, test), jnp.mean(is_right.astype(jnp.float32))

    # Many seeds at once, one checkpoint after another: memory stays that of one.
    keys = jax.random.split(jax.random.key(7), num_seeds)
    checkpoints = jax.jit(lambda keys: jax.lax.map(one_seed, keys))(keys)
    measured = jax.jit(lambda runs: jax.lax.map(lambda run: jax.lax.map(measurements, run), runs))(checkpoints)
    last = jax.tree.map(lambda leaf: leaf[:, -1], checkpoints)
    return Run(epochs, *measured, final=jax.jit(jax.vmap(interactions))(last))


# %%
def turns(run: Run, num_resamples: int) -> dict[str, np.ndarray]:
    """Epochs at which mean order and loss gap turn: for every seed over samples, and of the mean over seeds."""
    times = np.log(run.epochs[1:])

    def order_turn(totals):  # [samples, checkpoints, n + 1]
        return turning_point(times, mean_order(totals.mean(axis=0))[1:]).time

    def gap_turn(train_loss, test_loss):  # [samples, checkpoints]
        return turning_point(times, (test_loss.mean(axis=0) - train_loss.mean(axis=0))[1:]).time

    def interval(estimate):
        return np.exp(np.stack([estimate.lower, estimate.value, estimate.upper]))

    @jax.jit
    def of_seed(key, totals, train_loss, test_loss):
        order_key, gap_key = jax.random.split(key)
        samples_first = (jnp.swapaxes(values, 0, 1) for values in (totals, train_loss, test_loss))
        totals, train_loss, test_loss = samples_first
        return (
            bootstrap(order_key, order_turn, totals, num_resamples=num_resamples),
            bootstrap(gap_key, gap_turn, train_loss, test_loss, num_resamples=num_resamples),
        )

    keys = jax.random.split(jax.random.key(1), len(run.totals))
    order, gap = jax.jit(lambda *seeds: jax.lax.map(lambda seed: of_seed(*seed), seeds))(
        keys, run.totals, run.train_loss, run.test_loss
    )

    @jax.jit
    def over_seeds(key):
        order_key, gap_key = jax.random.split(key)
        order = bootstrap(order_key, order_turn, run.totals.mean(axis=2), num_resamples=num_resamples)
        train, test = run.train_loss.mean(axis=-1), run.test_loss.mean(axis=-1)
        return order, bootstrap(gap_key, lambda pair: gap_turn(*pair), (train, test), num_resamples=num_resamples)

    mean_order_turn, mean_gap_turn = over_seeds(jax.random.key(2))
    named = {"order": order, "gap": gap, "mean_order": mean_order_turn, "mean_gap": mean_gap_turn}
    return {name: interval(estimate) for name, estimate in named.items()}


def spindle(study: Study, num_seeds: int, num_samples: int) -> dict[str, Any]:
    """Spectra of many initialisations, and of the same outputs dealt out to random masks."""
    net, inputs, labels = study.net, study.train.inputs[:num_samples], study.train.labels[:num_samples]

    def one(key):
        init_key, deal_key = jax.random.split(key)
        params = net.init(init_key, inputs)
        options = {"baseline": study.train.inputs.mean(axis=0), "assignment": study.assignment}
        model = lambda batch: net.apply(params, batch)  # noqa: E731
        values = interactions_of_samples(model, inputs, labels, interaction=lambda values: values, **options)
        dealt = jax.random.permutation(deal_key, values, axis=1, independent=True)
        return [mean_normalized(order_strengths(harsanyi(table))).total.mean(axis=0) for table in (values, dealt)]

    spectra, dealt = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(3), num_seeds))
    peaks = np.array([peak_order(spectrum) for spectrum in spectra]) / (spectra.shape[-1] - 1)
    return {
        "value": np.asarray(spectra.mean(axis=0)),
        "error": np.asarray(spectra.std(axis=0)),
        "peak": np.array([peaks.mean(), peaks.std()]),
        "control": np.asarray(dealt.mean(axis=0)),
        "control_peak": peak_order(dealt.mean(axis=0)) / (spectra.shape[-1] - 1),
    }


def phase_two(run: Run, turn: float, num_samples: int) -> dict[str, Any]:
    """The noise of the theory at every other checkpoint from the turn on, in double precision."""
    with jax.enable_x64(True):
        at = np.flatnonzero(run.epochs >= turn)[:-1][::2]
        totals = jnp.asarray(np.asarray(run.totals)[:, at, :num_samples], jnp.float64)
        rows = jnp.moveaxis(totals, 1, 0).reshape(len(at), -1, totals.shape[-1])
        mean = rows.mean(axis=1)
        measured = mean / mean[:, 1:].mean(axis=1, keepdims=True)
        # Only the shape is fitted, so its error is the scatter of the samples' normalised spectra.
        shapes = rows / rows[..., 1:].mean(axis=-1, keepdims=True)
        errors = shapes.std(axis=1) / np.sqrt(rows.shape[1])
        final = run.final[:, :num_samples].astype(jnp.float64).reshape(-1, run.final.shape[-1])
        # Least squares, as for the control: the smallest strengths have tiny errors and would decide alone.
        tolerance = jnp.full(measured.shape[1], TOLERANCE)
        fit_all = jax.jit(lambda *data: jax.lax.map(lambda one: fit_noise(data[0], one, tolerance), data[1]))
        fits = fit_all(final, measured)
        last = np.asarray(order_strengths(final).total.mean(axis=0))
        pulls = (fits.predicted - measured)[:, 1:] / errors[:, 1:]
        return {
            "epochs": run.epochs[at],
            "measured": np.asarray(measured),
            "errors": np.asarray(errors),
            "predicted": np.asarray(fits.predicted),
            "noise_variance": np.asarray(fits.noise_variance),
            "log_error": np.asarray(fits.log_error),
            "chi_squared": np.asarray((pulls**2).sum(axis=-1) / (measured.shape[1] - 3)),
            "r_squared": np.asarray(fits.r_squared),
            "control": damped_fit(last, np.asarray(measured)),
            "chosen": np.unique(np.linspace(0, len(at) - 1, 4).astype(int)),
            "turn": turn,
        }


# %%
def span(interval: np.ndarray) -> str:
    """An epoch with its interval."""
    return f"{interval[1]:.0f} [{interval[0]:.0f}, {interval[2]:.0f}]"


def describe(name: str, run: Run, turned: dict[str, np.ndarray], fit: dict[str, Any] | None) -> list[Claim]:
    """The rows of one study in the table of claims."""
    orders = np.asarray(mean_order(run.totals.mean(axis=2)))
    first, lowest, last = orders[:, 0], orders.min(axis=1), orders[:, -1]
    turn = f"gap turns at {span(turned['mean_gap'])}"
    claims = [
        Claim(f"{name}: order falls first", "falls", plus_minus(lowest - first, sign="+"), f"from {first.mean():.2f}"),
        Claim("  then rises to the end", "rises", plus_minus(last - lowest, sign="+"), f"to {last.mean():.2f}"),
        Claim("  test accuracy at the end", "-", f"{float(run.accuracy[:, -1].mean()):.3f}", "-"),
        Claim("  epoch of the turn, order", "same as gap", span(turned["mean_order"]), turn),
    ]
    if fit is not None:
        theory, damped = (f"{np.median(fit[r]):.3f} (worst {fit[r].min():.3f})" for r in ("r_squared", "control"))
        noise = np.log(fit["noise_variance"])
        ranks = np.argsort(np.argsort(np.stack([fit["epochs"], noise]), axis=1), axis=1)
        rank = jnp.corrcoef(jnp.asarray(ranks, float))[0, 1]
        fall = f"ln σ² from {noise[0]:.1f} to {noise[-1]:.1f}"
        claims += [
            Claim("  phase 2 as falling noise, R²", "fits well", theory, f"exp(-ak): {damped}"),
            Claim("  fitted noise falls with the epoch", "falls", f"rank correlation {rank:.2f}", fall),
            Claim("  chi²/dof, statistical errors only", "-", f"{np.median(fit['chi_squared']):.1f}", "1 if exact"),
        ]
    return claims


def other_rule(run: Run) -> dict[str, np.ndarray]:
    """The turns by another rule: the lowest mean order, and the gap's first tenth of its last value; [runs]."""
    orders = np.asarray(mean_order(run.totals.mean(axis=2)))
    gaps = np.asarray(run.test_loss.mean(axis=-1) - run.train_loss.mean(axis=-1))
    first = (gaps > 0.1 * gaps[:, -1:]).argmax(axis=1)
    return {"order": np.maximum(run.epochs[orders.argmin(axis=1)], 1), "gap": np.maximum(run.epochs[first], 1)}


def panel_of(run: Run, turned: dict[str, np.ndarray]) -> dict[str, Any]:
    """What is drawn of one study's dynamics."""
    order, order_error = mean_and_error(mean_order(run.totals.mean(axis=2)))
    gap, gap_error = mean_and_error(run.test_loss.mean(axis=-1) - run.train_loss.mean(axis=-1))
    spectra = np.asarray(run.totals.mean(axis=(0, 2)))
    return {
        "epochs": run.epochs,
        "spectra": spectra / spectra[:, 1:].mean(1, keepdims=True),
        "mean_order": order,
        "mean_order_error": order_error,
        "gap": gap,
        "gap_error": gap_error,
        "order_turn": turned["mean_order"],
        "gap_turn": turned["mean_gap"],
    }


def main(smoke: bool = False, out: str = "out/two_phase_dynamics") -> None:
    num_seeds, num_checkpoints, num_samples, num_resamples = (2, 7, 4, 10) if smoke else (5, 40, 16, 200)
    start = time.perf_counter()
    panels, turned, others, fits = {}, {}, {}, {}
    chosen = studies(smoke)
    print_claims([HEADER], widths=WIDTHS)

    num_players = num_players_of(chosen["MNIST MLP"].assignment)
    forms = {
        "independent outputs: $C(n,k)\\,2^{k/2}$": np.asarray(independent_outputs_spectrum(num_players)),
        "independent interactions: $C(n,k)$": np.asarray(independent_interactions_spectrum(num_players)),
    }
    image_studies = [name for name in chosen if name.startswith("MNIST") and "shuffled" not in name]
    cases = {name: spindle(chosen[name], 4 if smoke else 50, num_samples) for name in image_studies}
    form_peaks = " or ".join(f"{peak_order(form) / num_players:.2f}" for form in forms.values())
    for name, case in cases.items():
        off = " / ".join(f"{np.abs(case['value'] - form)[1:].mean():.2f}" for form in forms.values())
        control = np.abs(case["control"] - next(iter(forms.values())))[1:].mean()
        peak, dealt = "{:.2f} ± {:.2f}".format(*case["peak"]), f"outputs dealt out: {case['control_peak']:.2f}"
        claims = [
            Claim(f"{name}: peak / n before training", form_peaks, peak, dealt),
            Claim("  mean distance from both forms", "0", off, f"outputs dealt out: {control:.2f} / -"),
        ]
        print_claims(claims, widths=WIDTHS)

    for name, study in chosen.items():
        run = measure(study, num_seeds, num_checkpoints, num_samples)
        turned[name], others[name] = turns(run, num_resamples), other_rule(run)
        panels[name] = panel_of(run, turned[name])
        turn = float(turned[name]["mean_order"][1])
        if "shuffled" not in name and (run.epochs >= turn).sum() > 2:
            fits[name] = phase_two(run, turn, num_samples // 2)
        print_claims(describe(name, run, turned[name], fits.get(name)), widths=WIDTHS)

    studied = {name: turn for name, turn in turned.items() if "shuffled" not in name}
    by_knot = [{key: turn[key][1] for key in ("order", "gap")} for turn in studied.values()]
    if not smoke:
        print_claims(correlations(by_knot, "knots"), widths=WIDTHS)
        print_claims(correlations([others[name] for name in studied], "minimum and 10%"), widths=WIDTHS)
    print_claims([proposition((6, 9) if smoke else (6, 9, 10, 12, 14))], widths=WIDTHS)
    print("The noise of the theory is fitted checkpoint by checkpoint, not derived; w* is the last checkpoint's.")
    save({"spindles": spindles(cases, forms), "turns": turn_scatter(studied)}, out)
    save({"dynamics": order_dynamics(panels)} | ({"noise": noise_fit(fits)} if fits else {}), out, dpi=110)
    print(f"{time.perf_counter() - start:.0f} s.")


# %%
if __name__ == "__main__":
    run_main(main, "Follow exact interactions by order through training.")
