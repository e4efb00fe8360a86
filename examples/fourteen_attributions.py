# %% [markdown]
# # Fourteen attributions, one formula
# Each method is computed twice: as its authors define it, and as a re-allocation of Taylor interactions,
# a_i = Σ_κ w_iκ I(κ). On networks of polynomial activations the two must agree to rounding. A ReLU has no Taylor series
# across its kink, so there the difference is measured. The shares w then say who gives an interaction away in full, in
# part, more than once, or to inputs that are not in it.

# %%
import functools
import itertools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from jaxrg import datasets, training
from jaxrg.explain import attributions, reallocations
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _fourteen_pairs import Pair, fourteen_pairs, harsanyi_pairs, polynomial
from _study import HEADER, Claim, plus_minus, print_claims, run_main, save, show

# Of 30: mean radius, texture, smoothness, concave points; worst texture, concave points.
FEATURES = (0, 1, 4, 7, 21, 27)
# name: (activation of the hidden layers, degree of the whole, degree of a neuron)
NETWORKS = {
    "quadratic, 3 layers": (polynomial([0.0, 1.0, 0.2]), 4, 2),
    "cubic, 2 layers": (polynomial([0.0, 1.0, 0.2, -0.05]), 3, 3),
    "ReLU, 3 layers": (jax.nn.relu, 3, 3),
}
WHOLE = {
    "Gradient x Input": reallocations.gradient_shares,
    "Occlusion-1": reallocations.occlusion_shares,
    "Occlusion-patch": lambda powers: reallocations.patch_shares(powers, np.array([0, 0, 1, 1])),
    "Prediction Difference": reallocations.occlusion_shares,
    "Grad-CAM": reallocations.gradient_shares,
    "Shapley": reallocations.shapley_shares,
    "Integrated Gradients": reallocations.integrated_shares,
    "Expected Gradients": reallocations.integrated_shares,
}
NEURON = {
    "LRP-epsilon": reallocations.epsilon_shares(0.1),
    "LRP-alpha-beta": reallocations.alpha_beta_shares(),
    "Deep Taylor": reallocations.deep_taylor_shares,
    "DeepLIFT Rescale": reallocations.fixed_shares(reallocations.integrated_shares),
    "DeepLIFT RevealCancel": reallocations.reveal_cancel_shares,
    "Deep SHAP": reallocations.fixed_shares(reallocations.shapley_shares),
}
PUBLISHED = {
    "Gradient x Input": "first orders only",
    "Occlusion-1": "undivided to each member",
    "Prediction Difference": "as Occlusion-1, averaged",
    "Shapley": "1/|S| each",
    "Integrated Gradients": "k_i/|k| each",
    "Expected Gradients": "as IG, averaged",
}


# %%
def layers_of(params, activation) -> list[attributions.Layer]:
    """The network of its parameters; the last layer is linear."""
    kinds = [activation] * (len(params) - 1) + [attributions.identity]
    return [attributions.Layer(weight, bias, kind) for (weight, bias), kind in zip(params, kinds, strict=True)]


def train(key, data: datasets.Dataset, activation, widths, num_epochs: int):
    """A classifier of two classes, by Adam on the cross entropy."""
    init_key, fit_key = jax.random.split(key)
    keys = jax.random.split(init_key, len(widths) - 1)
    params = [
        (jax.random.normal(layer_key, (inputs, outputs)) / np.sqrt(inputs), jnp.zeros(outputs))
        for layer_key, (inputs, outputs) in zip(keys, itertools.pairwise(widths), strict=True)
    ]

    def loss_fn(key, params, batch):
        outputs = attributions.forward(layers_of(params, activation), batch[0])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]))

    run = training.fit(
        fit_key,
        training.gradient_of(loss_fn),
        optax.adam(3e-3),
        params,
        (data.inputs, data.labels),
        num_epochs=num_epochs,
        batch_size=32,
    )
    return run.params


@functools.cache
def explainer(name: str, smoke: bool):
    """A compiled function from parameters, samples and backgrounds to all pairs of one kind of network."""
    activation, degree, neuron_degree = NETWORKS[name]
    if smoke:
        degree = neuron_degree = 2  # one hidden layer has the degree of its neurons; compiling grows with it

    @jax.jit
    def explain(params, samples, backgrounds):
        layers = layers_of(params, activation)
        patches = np.arange(samples.shape[1]) // 2
        head = lambda means: attributions.forward(layers, means)[1]  # noqa: E731
        function = lambda x: attributions.forward(layers, x)[1]  # noqa: E731

        def one(sample):
            # Grad-CAM sees a 2 x 2 map whose channel means are the sample.
            tilt = jnp.asarray([[0.5, 1.5], [1.25, 0.75]])[..., None]
            pairs = fourteen_pairs(
                layers,
                sample,
                backgrounds,
                output=1,
                assignment=patches,
                features=tilt * sample.reshape(1, 1, -1),
                head_of_means=head,
                max_degree=degree,
                neuron_degree=neuron_degree,
                epsilon=0.1,
            )
            return pairs, harsanyi_pairs(function, sample, backgrounds, patches)

        return jax.lax.map(one, samples)

    return explain


def relative_gaps(pairs) -> dict[str, np.ndarray]:
    """|original - re-allocated| of every sample, over the mean |original| of the network, by method."""
    gaps = {}
    for method, pair in pairs.items():
        original, other = (np.asarray(part).reshape(len(part), -1) for part in pair)
        # Single samples can have no attribution at all, where a network is dead.
        gaps[method] = np.linalg.norm(original - other, axis=1) / np.linalg.norm(original, axis=1).mean()
    return gaps


def mean_and_bootstrap(values: np.ndarray) -> tuple[float, float]:
    """Mean over all samples of all networks, and its bootstrap error over samples."""
    draws = np.random.default_rng(0).choice(values, (400, len(values)))
    return float(np.mean(values)), float(np.std(np.mean(draws, axis=1)))


def table_of_shares(method: str) -> tuple[np.ndarray, np.ndarray]:
    """Exponents and shares of the terms of a neuron with contributions of both signs; a bias is dropped at the end."""
    powers = reallocations.multi_indices(4, 3)
    if method in WHOLE:
        return powers, WHOLE[method](powers)
    contributions = jnp.asarray([[0.9], [-0.5], [0.4], [-0.2]])
    if method == "Deep Taylor":
        padded = np.pad(powers, ((0, 0), (0, 1)))
        shares = NEURON[method](padded, jnp.concatenate([contributions, jnp.zeros((1, 1))]))
        return powers, np.asarray(shares)[:, :4, 0]
    return powers, np.broadcast_to(np.asarray(NEURON[method](powers, contributions))[..., 0], powers.shape)


def given_away(method: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Shares of each term that go to its own inputs, to others, and what that is called."""
    powers, shares = table_of_shares(method)
    members = np.where(powers > 0, shares, 0).sum(1)
    others = np.abs(np.where(powers > 0, 0, shares)).sum(1)
    tests = {"partial": members < 1 - 1e-6, "multiple": members > 1 + 1e-6, "to others": others > 1e-6}
    return members, others, " + ".join(name for name, found in tests.items() if found.any()) or "full"


# %%
def measure(smoke: bool):
    """Relative gaps by network and method, over all seeds and samples; and those with another method's shares."""
    num_seeds, num_samples, num_epochs = (1, 4, 3) if smoke else (5, 40, 40)
    data = datasets.breast_cancer(is_standardized=True)
    chosen = np.array(FEATURES[:3] if smoke else FEATURES)
    data = data._replace(inputs=data.inputs[:, chosen])
    gaps, by_sets, wrong, accuracy = {}, {}, [], {}
    for name, (activation, _, _) in NETWORKS.items():
        if smoke and "cubic" in name:
            continue
        hidden = (6, 4) if "3 layers" in name and not smoke else (4,)
        widths = (len(chosen), *hidden, 2)
        for seed in range(num_seeds):
            split_key, train_key = jax.random.split(jax.random.key(seed))
            train_set, test_set = datasets.split(split_key, data, 400)
            params = train(train_key, train_set, activation, widths, num_epochs)
            layers = layers_of(params, activation)
            correct = jnp.argmax(attributions.forward(layers, test_set.inputs), axis=1) == test_set.labels
            accuracy.setdefault(name, []).append(float(jnp.mean(correct)))
            with jax.enable_x64(True):
                params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), params)
                samples = jnp.asarray(np.asarray(test_set.inputs[:num_samples]), jnp.float64)
                backgrounds = jnp.asarray(np.asarray(train_set.inputs[:4]), jnp.float64)
                pairs, set_pairs = jax.device_get(explainer(name, smoke)(params, samples, backgrounds))
            for method, values in relative_gaps(pairs).items():
                gaps.setdefault((name, method), []).append(values)
            for method, values in relative_gaps(set_pairs).items():
                by_sets.setdefault((name, method), []).append(values)
            swapped = Pair(pairs["Integrated Gradients"].original, pairs["Shapley"].reallocated)
            wrong.append(relative_gaps({"": swapped})[""])
    joined = [{key: np.concatenate(values) for key, values in table.items()} for table in (gaps, by_sets)]
    return *joined, np.concatenate(wrong), accuracy


def first_order_gaps() -> tuple[float, float]:
    """Distance of Gradient x Input from the first-order terms about the sample, and about the baseline, relative."""
    with jax.enable_x64(True):
        random = np.random.default_rng(4)
        sample, weight = jnp.asarray(random.normal(size=4)), jnp.asarray(random.normal(size=(4, 3)) / 2)
        quadratic = polynomial([0.0, 1.0, 0.4])
        function = lambda x: jnp.sum(quadratic(x @ weight))  # noqa: E731
        original = attributions.gradient_times_input(function, sample).values
        gaps = []
        for sign, there, origin in ((-1, jnp.zeros(4), sample), (1, sample, jnp.zeros(4))):
            values = jax.jit(lambda x, b: reallocations.taylor_terms(function, x, b, max_degree=2).values)(
                there, origin
            )
            first = sign * values @ reallocations.first_order_shares(reallocations.multi_indices(4, 2))
            gaps.append(float(jnp.linalg.norm(first - original) / jnp.linalg.norm(original)))
    return gaps[0], gaps[1]


def depth_dependence() -> tuple[float, float]:
    """Largest deviation of Rescale's shares, read off its definition, from k_i/|k| in one and in two hidden layers."""
    found = []
    with jax.enable_x64(True):
        random = np.random.default_rng(3)
        for widths in ((4, 5, 2), (4, 5, 3, 2)):
            params = [
                (jnp.asarray(random.normal(size=(i, o)) / np.sqrt(i)), jnp.asarray(0.2 * random.normal(size=o)))
                for i, o in itertools.pairwise(widths)
            ]
            layers = layers_of(params, polynomial([0.0, 1.0, 0.4]))
            sample, baseline = (jnp.asarray(random.normal(size=4)) for _ in range(2))
            shares = reallocations.measured_shares(
                lambda x, layers=layers, b=baseline: attributions.deeplift_rescale(layers, x, b, output=1),
                lambda x, layers=layers: attributions.forward(layers, x)[1],
                sample,
                baseline,
                max_degree=2 ** (len(widths) - 2),
            )
            found.append(float(np.nanmax(np.abs(shares.shares - reallocations.integrated_shares(shares.powers)))))
    return found[0], found[1]


# %%
def draw(gaps, by_sets) -> Figure:
    """Gaps by method and network; and who gets what of one term."""
    methods = list(WHOLE | NEURON)
    figure, grid = style.new_figure(1, 3, size=(15, 5.2), width_ratios=(1.3, 1, 1))
    left = grid[0, 0]
    rows = np.arange(len(methods))
    measured = [name for name in NETWORKS if (name, methods[0]) in gaps]
    for name, colour, marker in zip(measured, (style.RED, style.BLUE, style.GREEN), "Dos", strict=False):
        means = [max(np.mean(gaps[name, method]), 1e-17) for method in methods]
        left.plot(means, rows, marker, color=colour, label=f"{name}, Taylor")
    sets = [method for method in methods if ("ReLU, 3 layers", method) in by_sets]
    means = [max(np.mean(by_sets["ReLU, 3 layers", method]), 1e-17) for method in sets]
    left.plot(means, [methods.index(m) for m in sets], "x", color=style.ORANGE, label="ReLU, 3 layers, Harsanyi")
    left.set_xscale("log")
    left.set_yticks(rows, methods)
    left.invert_yaxis()
    left.set_xlabel("mean |original - re-allocated| / mean |original|")
    left.legend(fontsize=8, loc="center")

    for axes, term, title in (
        (grid[0, 1], [2, 1, 0, 0], r"shares of the term $x_1^2 x_2$"),
        (grid[0, 2], [0, 2, 0, 1], r"shares of the term $x_2^2 x_4$"),
    ):
        image = []
        for method in methods:
            powers, shares = table_of_shares(method)
            image.append(shares[np.flatnonzero((powers == term).all(1))[0]])
        style.show_image(axes, np.array(image), limit=2.0, title=title)
        axes.set_aspect("auto")
        for row, values in enumerate(image):
            for column, value in enumerate(values):
                colour = "white" if abs(value) > 1.4 else "black"
                axes.text(column, row, f"{value:.2g}", ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(4), ["$x_1$ (+)", "$x_2$ (-)", "$x_3$ (+)", "$x_4$ (-)"])
        axes.set_xlabel("input (sign of its contribution to a neuron)\npatches: $x_1 x_2$ and $x_3 x_4$")
    grid[0, 1].set_yticks(rows, methods)
    return figure


def main(smoke: bool = False, out: str = "out/fourteen_attributions") -> None:
    gaps, by_sets, wrong, accuracy = measure(smoke)
    for name, values in accuracy.items():
        print(f"{name:<20} test accuracy {plus_minus(values, 3)}")
    print(f"\n{'method':<22} {'polynomials: largest gap':>25} {'ReLU: mean gap':>16} {'members':>13} others  kind")
    relu = {method: mean_and_bootstrap(gaps["ReLU, 3 layers", method]) for method in WHOLE | NEURON}
    kinds = {}
    for method in WHOLE | NEURON:
        exact = max(gaps[name, method].max() for name in NETWORKS if (name, method) in gaps and "ReLU" not in name)
        members, others, kinds[method] = given_away(method)
        cells = f"{exact:>25.1e} {show(*relu[method], 3):>16} {members.min():>5.2f} to {members.max():.2f}"
        print(f"{method:<22} {cells} {others.max():>6.2f}  {kinds[method]}")

    one, two = depth_dependence()
    about_x, about_b = first_order_gaps()
    exact = max(gaps[name, method].max() for name, method in gaps if "ReLU" not in name)
    sets = max(values.max() for values in by_sets.values())
    ranked = sorted(relu, key=lambda method: relu[method])
    low, high = (f"{method}: {show(*relu[method], 3)}" for method in (ranked[0], ranked[-1]))
    claims = [
        Claim("fourteen equal a re-allocation on polynomials", "exact", f"largest gap {exact:.1e}",
              f"IG by Shapley's shares: {show(*mean_and_bootstrap(wrong), 3)}"),
        Claim("ReLU breaks the Taylor identity", "yes", f"{low} to {high}", f"polynomials: {exact:.1e}"),
        Claim("Harsanyi interactions still serve four on ReLU", "exact", f"largest gap {sets:.1e}", "Taylor, as above"),
        Claim("Gradient x Input is the first order of an expansion", "first orders only",
              f"about x: off by {about_x:.1e}", f"about the baseline: off by {about_b:.2f} (each term k_i times)"),
        Claim("Rescale's shares depend on exponents only", "layer by layer",
              f"one hidden layer: off by {one:.1e}", f"two hidden layers: off by {two:.2f}"),
    ]  # fmt: skip
    print()
    print_claims([HEADER, *claims, *(Claim(f"{m} shares", text, kinds[m], "-") for m, text in PUBLISHED.items())])
    save({"fourteen_attributions": draw(gaps, by_sets)}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Fourteen attributions as re-allocations of interactions.")
