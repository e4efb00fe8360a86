# %% [markdown]
# # What a network sees, and whether the pictures know it
# Deconvnet, guided backpropagation, the gradient and Grad-CAM of a small convolutional network that reads digits, with
# the images that its units respond to most and what a deconvnet makes of them. Beside the pictures stand their sanity
# checks: the same pictures by a network whose layers are replaced by random ones from the output down, the repaired
# forms of that test, the convergence of random signals on their way back, and a network that learned shuffled labels.
# A picture that does not change when the network does is a picture of the image. Errors are over images.

# %%
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen
from matplotlib.figure import Figure

from jaxrg import datasets, nets, training
from jaxrg.explain import hidden, transplants
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, mean_and_error, plus_minus, print_claims, run_main, save, show

NUM_CLASSES, BATCH_SIZE, NUM_UNITS, NUM_TOP = 10, 50, 6, 6
LAYERS = ("Conv_0", "Conv_1", "Conv_2", "Dense_0", "Dense_1")
SITES = ("relu_3", "relu_2", "relu_1", "relu")  # from the top down
LAST_MAPS = "relu_2"
NAMES: tuple[str, ...] = ("gradient", "Grad-CAM", "deconvnet", "guided", "guided Grad-CAM")
RULES = {"gradient": hidden.gradient_rule, "deconvnet": hidden.deconvnet_rule, "guided": hidden.guided_rule}


class Scale(NamedTuple):
    """Size of the study."""

    num_train: int
    num_epochs: int
    num_epochs_shuffled: int  # until the labels without meaning are learned
    num_images: int
    num_draws: int  # of noise
    names: tuple[str, ...]


FULL = Scale(2_000, 15, 60, 40, 20, NAMES)
SMOKE = Scale(100, 1, 1, 2, 2, ("guided",))


# %%
class Reader(linen.Module):
    """Three convolutions, a pool after the first two, and two dense layers."""

    @linen.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        maps = images[..., None]
        for channels in (16, 32):
            maps = linen.max_pool(linen.relu(linen.Conv(channels, (3, 3))(maps)), (2, 2), strides=(2, 2))
        maps = linen.relu(linen.Conv(32, (3, 3))(maps))
        hidden_units = linen.relu(linen.Dense(64)(maps.reshape(len(maps), -1)))
        return linen.Dense(NUM_CLASSES)(hidden_units)


NET = nets.from_linen(Reader())


def train(inputs: jax.Array, labels: jax.Array, num_epochs: int) -> tuple[Any, Any]:
    """Parameters before and after training."""
    init_key, train_key = jax.random.split(jax.random.key(1))

    def loss_fn(key, params, batch):
        outputs = NET.apply(params, batch[0])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]))

    first = NET.init(init_key, inputs[:1])
    gradient, optimizer = training.gradient_of(loss_fn), optax.adam(1e-3)
    data = (inputs, labels)
    run = training.fit(train_key, gradient, optimizer, first, data, num_epochs=num_epochs, batch_size=BATCH_SIZE)
    return first, run.params


def outputs(params: Any, image: jax.Array) -> jax.Array:
    """Logits ``[classes]`` of one image."""
    return NET.apply(params, image[None])[0]


def accuracy(params: Any, inputs: jax.Array, labels: jax.Array) -> float:
    return float(jnp.mean((jnp.argmax(NET.apply(params, inputs), axis=-1) == labels).astype(jnp.float32)))


# %%
def explainer(name: str, weights: jax.Array) -> Callable[[Any, jax.Array], jax.Array]:
    """``picture = explain(params, image)`` of the logits times weights: one for the class that is explained."""

    def explain(params: Any, image: jax.Array) -> jax.Array:
        score = lambda image: outputs(params, image) @ weights  # noqa: E731
        if name == "gradient":
            return jax.grad(score)(image)
        if name == "deconvnet":
            return hidden.deconvnet(score, image)
        heat = hidden.grad_cam(score, image, LAST_MAPS) if "Grad-CAM" in name else 1.0
        return heat * hidden.guided_backpropagation(score, image) if "guided" in name else heat * jnp.ones_like(image)

    return explain


class Checks(NamedTuple):
    """What the checks find of one kind of picture; the first axis is that of images."""

    pictures: np.ndarray  # [images, layers + 1, rows, columns]
    alike: np.ndarray  # [images, layers + 1], absolute rank correlation with the picture of the trained network
    smoothed: np.ndarray  # [images, layers + 1], the same of smoothed pictures (sMPRT)
    complexity: np.ndarray  # [images, layers + 1]
    shuffled: np.ndarray  # [images], correlation with the picture by the network of shuffled labels
    others: np.ndarray  # [images], with the picture that the same network has of another image


def check(name: str, images: jax.Array, classes: jax.Array, networks: dict[str, Any], num_draws: int) -> Checks:
    """The checks of one kind of picture, of the class that the trained network sees in each image."""
    layers = transplants.layer_numbers(networks["trained"], lambda params: [params["params"][key] for key in LAYERS])

    @jax.jit
    def of_all(networks: dict[str, Any], images: jax.Array, weights: jax.Array) -> Any:
        def one(given: tuple[jax.Array, jax.Array]) -> Any:
            image, weight = given
            explain = explainer(name, weight)
            smoothed = hidden.smooth(jax.random.key(2), explain, num_draws=num_draws, noise=0.1)
            arguments = networks["trained"], networks["fresh"], layers, image
            plain, smooth = (hidden.weight_randomization(fn, *arguments) for fn in (explain, smoothed))
            shuffled = explain(networks["shuffled"], image)
            return plain.pictures, smooth.absolute_rank_correlation, plain, shuffled

        return jax.lax.map(one, (images, weights))

    pictures, smoothed, plain, shuffled = jax.tree.map(
        np.asarray, of_all(networks, images, jax.nn.one_hot(classes, NUM_CLASSES))
    )
    first = pictures[:, 0]
    return Checks(
        pictures,
        plain.absolute_rank_correlation,
        smoothed,
        plain.complexity,
        np.array([alike(*pair) for pair in zip(first, shuffled, strict=True)]),
        np.array([alike(*pair) for pair in zip(first, np.roll(first, 1, axis=0), strict=True)]),
    )


def alike(first: np.ndarray, second: np.ndarray) -> float:
    """Rank correlation of absolute values; NaN if one is the same everywhere, as a heat map may be zero."""
    return float(hidden.rank_correlation(np.abs(first), np.abs(second)))


def of_images(values: np.ndarray, sign: str = "") -> str:
    """Mean and error over the images that have a value."""
    return plus_minus(values[np.isfinite(values)], sign=sign)


def convergence(params: Any, images: jax.Array, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Cosine similarity of random signals ``[images, sites + 1]`` by each rule, from the top down to the image."""

    @jax.jit
    def of_all(params: Any, images: jax.Array) -> dict[str, jax.Array]:
        def one(image: jax.Array) -> dict[str, jax.Array]:
            function = functools.partial(outputs, params)
            return {
                name: hidden.cosine_convergence(jax.random.key(3), function, image, SITES, rule)
                for name, rule in RULES.items()
                if name in names
            }

        return jax.lax.map(one, images)

    return jax.tree.map(np.asarray, of_all(params, images))


# %%
def claims_of(scale: Scale, checks: dict[str, Checks], converged: dict[str, np.ndarray]) -> list[Claim]:
    """Claims of the papers, beside what this network gives; the control is the picture of another image."""
    published = {
        "gradient": "falls (passes)",
        "Grad-CAM": "falls (passes)",
        "deconvnet": "top layers do not matter (fails)",
        "guided": "hardly changes (fails)",
        "guided Grad-CAM": "hardly changes (fails)",
    }
    rows = []
    for name in scale.names:
        found = checks[name]
        others = of_images(found.others)
        before = np.where(found.complexity[:, 0] > 0, found.complexity[:, 0], np.nan)  # zero of a picture of zeros
        measured = {
            "alike with the dense layers random": (published[name], of_images(found.alike[:, 2]), others),
            "alike with all layers random": (published[name], of_images(found.alike[:, -1]), others),
            "the same, smoothed (sMPRT)": ("ranks methods anew", of_images(found.smoothed[:, -1]), others),
            "labels shuffled": (published[name], of_images(found.shuffled), others),
            "rise of complexity (eMPRT)": (
                "> 0 where it passes",
                of_images(found.complexity[:, -1] / before - 1, sign="+"),
                "0",
            ),
        }
        rows += [Claim(f"{name}: {what}", *texts) for what, texts in measured.items()]
    chance = 0.67 / np.sqrt(28 * 28)
    rows += [
        Claim(
            f"{name}: signals alike at the image",
            "1 (Sixt: converges)" if name != "gradient" else "below 1",
            show(*mean_and_error(values[:, -1]), digits=3),
            f"{chance:.3f}",
        )
        for name, values in converged.items()
    ]
    return rows


def figures_of(
    scale: Scale, images: jax.Array, checks: dict[str, Checks], converged: dict[str, np.ndarray]
) -> dict[str, Figure]:
    """The pictures of one image as layers become random, and the two kinds of curves."""
    stages = ["trained", *(f"+ {layer}" for layer in reversed(LAYERS))]
    size = 1.5 * len(stages) + 1.8, 1.65 * len(scale.names) + 0.4
    pictures, axes = style.new_figure(len(scale.names), len(stages) + 1, size=size)
    for row, name in zip(axes, scale.names, strict=True):
        row[0].imshow(images[0], cmap="gray_r")
        row[0].set_ylabel(name)
        for axis, picture in zip(row[1:], checks[name].pictures[0], strict=True):
            reach = max(np.abs(picture).max(), 1e-30)
            axis.imshow(picture, cmap="RdBu_r", vmin=-reach, vmax=reach)
    for axis, title in zip(axes[0], ["image", *stages], strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(visible=False)
    curves, axes = style.new_figure(1, 2, size=(11, 4))
    left, right = axes[0]
    colours = dict(zip(NAMES, style.series_colours(len(NAMES)), strict=True))
    for name in scale.names:
        colour = colours[name]
        values = checks[name].alike
        means, errors = mean_and_error(values[np.isfinite(values).all(axis=1)])
        left.errorbar(range(len(stages)), means, errors, color=colour, marker="o", capsize=2, label=name)
        left.axhline(np.nanmean(checks[name].others), color=colour, linestyle=":", linewidth=1)
    left.set_xticks(range(len(stages)), stages, rotation=30)
    left.set_ylabel("absolute rank correlation with the first")
    left.set_title("layers replaced from the output down (dotted: of two images)", fontsize=10)
    left.legend(fontsize=8)
    for name in converged:
        colour = colours[name]
        means, errors = mean_and_error(converged[name])
        right.errorbar(range(len(SITES) + 1), means, errors, color=colour, marker="o", capsize=2, label=name)
    right.set_xticks(range(len(SITES) + 1), ["dense", "conv 3", "conv 2", "conv 1", "image"])
    right.set_ylabel("cosine similarity of two random signals")
    right.set_ylim(0, 1.05)
    right.set_title("on the way back from the outputs", fontsize=10)
    right.legend(fontsize=8)
    return {"pictures": pictures, "sanity": curves}


def units_figure(params: Any, images: jax.Array) -> Figure:
    """The images that a unit responds to most, and below each what a deconvnet makes of the unit there."""
    function = functools.partial(outputs, params)
    num_top = min(NUM_TOP, len(images))
    top = hidden.strongest(function, images, LAST_MAPS, num_top=num_top)
    units = np.argsort(-np.asarray(top.values[:, 0]))[:NUM_UNITS]
    figure, axes = style.new_figure(2 * len(units), num_top, size=(1.1 * num_top + 0.8, 2.2 * len(units)))
    project = jax.jit(lambda index, image: hidden.deconvnet(hidden.unit(function, LAST_MAPS, index), image))
    for place, index in enumerate(units):
        for column, sample in enumerate(np.asarray(top.samples[index])):
            picture = np.asarray(project(jnp.int32(index), images[sample]))
            upper, lower = axes[2 * place, column], axes[2 * place + 1, column]
            upper.imshow(images[sample], cmap="gray_r")
            reach = max(np.abs(picture).max(), 1e-30)
            lower.imshow(picture, cmap="RdBu_r", vmin=-reach, vmax=reach)
        axes[2 * place, 0].set_ylabel(f"unit {index}", fontsize=9)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(visible=False)
    return figure


# %%
def main(smoke: bool = False, out: str = "out/see_a_network") -> None:
    """Train, list the sites, check the pictures, print the table, draw."""
    scale = SMOKE if smoke else FULL
    split_key, shuffle_key = jax.random.split(jax.random.key(0))
    train_set, test_set = datasets.split(split_key, datasets.mnist_5k(), scale.num_train)
    inputs, labels = train_set.inputs, train_set.labels
    _, trained = train(inputs, labels, scale.num_epochs)
    permuted = datasets.shuffle_labels(shuffle_key, labels)
    _, shuffled = train(inputs, permuted, scale.num_epochs_shuffled)
    print(f"test accuracy {accuracy(trained, test_set.inputs, test_set.labels):.3f}")
    print(f"of shuffled labels, learned by heart: {accuracy(shuffled, inputs, permuted):.3f}")
    sites = hidden.taps(NET.apply, trained, inputs[:1])
    for site in sites:
        if site.kind in ("relu", "reduce_window_max", "dot_general", "conv_general_dilated"):
            print(f"  {site.name:<50} {site.shape}")
    images = test_set.inputs[: scale.num_images]
    classes = jnp.argmax(NET.apply(trained, images), axis=-1)
    fresh = NET.init(jax.random.key(9), inputs[:1])
    networks = {"trained": trained, "fresh": fresh, "shuffled": shuffled}
    checks = {name: check(name, images, classes, networks, scale.num_draws) for name in scale.names}
    converged = convergence(trained, images, scale.names)
    print_claims([HEADER, *claims_of(scale, checks, converged)])
    figures = figures_of(scale, images, checks, converged)
    save(figures | {"units": units_figure(trained, test_set.inputs[: 20 * scale.num_images])}, out)


if __name__ == "__main__":
    run_main(main, "What a network sees, and the sanity checks of its pictures.")
