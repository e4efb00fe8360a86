# %% [markdown]
# # RG-Flow on images with factors of two scales
# In MSDS1 sixteen ellipses of an image share their colour, each has a direction of its own; in MSDS2 they share the
# direction and each has a colour of its own. Two hierarchical flows are trained on one of them: decimation run
# backwards, which draws pixels from coarse to fine, and the published one of disentanglers and decimators on blocks.
# Beside them stands a multi-scale RealNVP; all have as many parameters and train for as many minutes. What is measured:
# bits per dimension of images that none has seen, with their error; how they fall with time; which pixels a latent of
# each level moves; what changes when one latent does; images with the coarse levels of one and the fine levels of
# another; and what the latents of each level know of the factors, beside the same factors in another order of the
# images, of which they can know nothing.
#
# A run goes on where it stopped: `python examples/rgflow_msds.py --data msds1 --minutes 60` trains until each flow has
# had 60 minutes, those of earlier calls with the same `--out` included.

# %%
import argparse
import datetime
import functools
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jaxrg import datasets, flows
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _image_flows import (
    Flow,
    Trained,
    Training,
    evaluate,
    hierarchical,
    image_density,
    multiscale,
    num_parameters,
    show_images,
    train,
    width_of_equal_size,
)
from _study import save, show

SIDE, CHANNELS, TILE = 32, 3, (1, 2)  # and the tile whose ellipse is looked at by itself
GENERATORS = {"msds1": datasets.msds1, "msds2": datasets.msds2}
PUBLISHED = {"msds1": 1.85, "msds2": 1.94}  # an independent reproduction with 100 million parameters
DECIMATION, BLOCKS, REALNVP = "decimation backwards", "blocks of RG-Flow", "multi-scale RealNVP"
NAMES = {DECIMATION: "bits", BLOCKS: "blocks_bits", REALNVP: "realnvp_bits"}
SHARED, OWN = ("shared red", "shared green", "shared blue", "shared cos", "shared sin"), ("x", "y", "cos", "sin", "red")
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


class Scale(NamedTuple):
    """Size of the study."""

    num_train: int
    num_test: int
    num_layers: tuple[int, ...]  # of the blocks of each level
    num_features: int  # of decimation run backwards; the others are as wide as makes them as large
    training: Training
    num_known: int  # images for what latents know
    side: int = SIDE  # of an image, or of that tile alone
    is_simple: bool = False


FULL = Scale(90_000, 4_000, (4, 4, 3, 2), 48, Training(10.0, 32, 20, 3e-3), 4_096)
SMOKE = Scale(64, 32, (1, 1), 4, Training(0.0, 16, 2), 256, SIDE // 4, is_simple=True)
NUM_SHOWN = 9  # images in a row; one number for all rows, so that one compiled program decodes them


# %%
def flows_of(scale: Scale, prior: Any) -> dict[str, Flow]:
    """Three flows with about as many parameters."""
    shape, sides, is_simple = (scale.side, scale.side, CHANNELS), (scale.side, scale.side), scale.is_simple
    flow = flows.images.image_decimation(shape, num_features=scale.num_features)
    shapes = flows.latent_shapes(flow, shape)
    first = Flow(flow, flows.density(flow, flows.gaussian(shapes)), shapes, True)

    def blocks(width: int) -> Flow:
        made = hierarchical(sides, CHANNELS, scale.num_layers, width, is_simple)
        shapes = flows.geometry(made).latent_shapes
        return Flow(made, image_density(made, shape, shapes, prior), shapes, False)

    def convolutions(width: int) -> Flow:
        num_layers = scale.num_layers[: len(scale.num_layers) - 1]
        made, shapes = multiscale(sides, CHANNELS, num_layers, width, is_simple)
        return Flow(made, image_density(made, shape, shapes, prior), shapes, False)

    target = num_parameters(first.density)
    found = {DECIMATION: first}
    for kind, make in ((BLOCKS, blocks), (REALNVP, convolutions)):
        found[kind] = make(
            4 if is_simple else width_of_equal_size(lambda width, make=make: make(width).density, target)
        )
    return found


# %% [markdown]
# What can be known of an image: the mean over its ellipses of each colour and of the direction, and of the ellipse in
# one tile its place, its own direction and how its red differs from the mean. Directions are cosine and sine of twice
# the angle, as half a turn changes nothing.


# %%
def factors_of(labels: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    """``[num_images, shared and own]`` factors."""
    angle = np.radians(2 * labels[..., 2])
    turned = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    shared = np.concatenate([labels[..., 3:].mean((1, 2)), turned.mean((1, 2))], axis=-1)
    one, own = labels[:, tile[0], tile[1]], turned[:, tile[0], tile[1]]
    red = one[:, 3] - shared[:, 0]
    return np.concatenate([shared, one[:, :2], own, red[:, None]], axis=-1).astype(np.float32)


def known_by_level(latents: dict, labels: np.ndarray, order: np.ndarray) -> dict[int, flows.Disentanglement]:
    """What the latents of every level know of the factors of the images in this order."""
    factors = jnp.asarray(factors_of(labels, TILE)[order])
    return {
        level: flows.disentanglement(values.reshape(len(values), -1), factors, ridge=1.0)
        for level, values in latents.items()
    }


# %%
def draw_curves(name: str, trained: dict[str, Trained], final: dict[str, Any]) -> Figure:
    """Held-out bits per dimension by minutes of training."""
    figure, [[axes]] = style.new_figure(1, 1, size=(6.5, 4.2))
    for (kind, run), colour in zip(trained.items(), (style.RED, style.ORANGE, style.BLUE), strict=False):
        axes.plot(run.minutes, run.bits, color=colour, alpha=0.6, label=f"{kind}, 256 images")
        axes.errorbar(run.minutes[-1], float(final[kind].mean), float(final[kind].error), fmt="o", color=colour,
                      label=f"{kind}, averaged parameters, all held-out images", capsize=3)  # fmt: skip
    axes.axhline(PUBLISHED[name], color="grey", linestyle=":", label="RG-Flow of 100 M parameters, GPU")
    axes.set(xlabel="training / minutes", ylabel=f"bits per dimension, {name.upper()}")
    top = min(8.0, max(float(np.max(run.bits)) for run in trained.values()))
    axes.set_ylim(PUBLISHED[name] - 0.3, top + 0.1)
    axes.legend(fontsize=7)
    return figure


def draw_samples(images: dict[str, np.ndarray]) -> Figure:
    figure, grid = style.new_figure(1, len(images), size=(4.2 * len(images), 4.4))
    for axes, (title, some) in zip(grid[0], images.items(), strict=True):
        show_images(axes, np.asarray(some).reshape(4, 4, *some.shape[1:]))
        axes.set_title(title)
    return figure


def draw_fields(fields: dict[int, np.ndarray], exact: dict[int, np.ndarray]) -> Figure:
    """How far one latent of each level moves the pixels and, of blocks, the pixels that it can move at all."""
    figure, grid = style.new_figure(1, len(fields), size=(3.4 * len(fields), 3.6))
    for axes, (level, field) in zip(grid[0], fields.items(), strict=True):
        axes.imshow(field / field.max(), cmap="magma", vmin=0, vmax=1)
        title = f"level {level}: width {(field > 0.05 * field.max()).sum() ** 0.5:.1f} px"
        if level in exact:
            axes.contour(exact[level].astype(float), [0.5], colors="white", linewidths=1)
            title += f"\ncan move {int(exact[level].sum())} px"
        axes.set_title(title)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
    line = "; line: exact cone" if exact else ""
    figure.suptitle(r"$\mathrm{E}|\partial G/\partial z|$ of one latent over its maximum" + line)
    return figure


def draw_known(known: dict[int, flows.Disentanglement], null: dict[int, flows.Disentanglement]) -> Figure:
    """What a linear function of the latents of a level explains of each factor."""
    figure, grid = style.new_figure(1, 2, size=(13, 4.2))
    names, x = (*SHARED, *OWN), np.arange(len(SHARED) + len(OWN))
    colours = style.SERIES
    for axes, title, of in (
        (grid[0][0], "linear function of all latents of a level\nshare of the variance it explains (held out)",
         lambda one: np.asarray(one.explained)),
        (grid[0][1], "best single latent of a level\nmutual information / nats",
         lambda one: np.asarray(one.information).max(0)),
    ):  # fmt: skip
        for number, (level, one) in enumerate(known.items()):
            shift = 0.8 * (number / len(known) - 0.5)
            axes.bar(x + shift, of(one), 0.8 / len(known), color=colours[number], label=f"level {level}")
            label = "factors of other images" if number == 0 else None
            axes.plot(x + shift, of(null[level]), "k_", markersize=8, label=label)
        axes.axvline(len(SHARED) - 0.5, color="grey", linewidth=0.8)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(x - 0.1, names, rotation=60, ha="right")
        axes.set_title(title, fontsize=10)
        axes.set_ylim(min(-0.1, axes.get_ylim()[0]) if "share" in title else 0, None)
        axes.legend(fontsize=7)
    return figure


# %%
def looked_at(
    made: Flow, params: Any, prior: Any, images: np.ndarray, latents: dict[int, np.ndarray], known: dict
) -> dict[str, Figure]:
    """Receptive fields, traversals and mixtures of a trained hierarchy, of latents of held-out images."""
    rows, labels = [], []
    for level, shape in made.latent_shapes.items():
        information = np.asarray(known[level].information)
        best = int(np.argmax(information.max(1)))
        factor = (*SHARED, *OWN)[int(np.argmax(information[best]))]
        one = {key: jnp.asarray(values[0]) for key, values in latents.items()}
        values = jnp.linspace(-3, 3, NUM_SHOWN)
        rows.append(made.images(flows.traverse(made.flow, params, one, level, np.unravel_index(best, shape), values)))
        labels.append(f"level {level}: knows most of\n{factor}, {information[best].max():.2f} nats")
    traversal, [[axes]] = style.new_figure(1, 1, size=(9, 1.2 * len(rows) + 0.6))
    show_images(axes, np.stack(rows), labels)
    axes.set_title("one latent of each level from -3 to 3, the others as in one held-out image")
    drawn, _ = (flows.gaussian if made.is_of_images else prior)(made.latent_shapes).sample(jax.random.key(5), (), 16)
    fields, exact = {}, {}
    for level, shape in made.latent_shapes.items():
        middle = tuple(0 if axis == 0 and len(shape) == 4 else side // 2 for axis, side in enumerate(shape[:-1]))
        fields[level] = np.asarray(flows.sensitivity(made.flow, params, drawn, level, (*middle, 0))).sum(-1)
        if not made.is_of_images:
            exact[level] = flows.receptive_field(made.flow, level, (*middle, 0))
    return {
        "traversals": traversal,
        "mixing": draw_mixtures(made, params, latents, images),
        "receptive_fields": draw_fields(fields, exact),
    }


def draw_mixtures(made: Flow, params: Any, latents: dict, images: np.ndarray) -> Figure:
    """Fine levels of the images in one row, coarse levels of those in another."""
    num_levels = len(latents)
    fine = {level: values[:NUM_SHOWN] for level, values in latents.items()}
    coarse = {level: values[NUM_SHOWN : 2 * NUM_SHOWN] for level, values in latents.items()}
    mixed = [
        made.images(flows.decode(made.flow, params, flows.mix(fine, coarse, level))[0])
        for level in range(1, num_levels)
    ]
    given = np.asarray(images[: 2 * NUM_SHOWN], np.float32) / 255
    labels = ["fine of", *(f"levels < {level}, others" for level in range(1, num_levels)), "coarse of"]
    figure, [[axes]] = style.new_figure(1, 1, size=(9, 1.1 * len(labels) + 0.5))
    show_images(axes, np.stack([given[:NUM_SHOWN], *map(np.asarray, mixed), given[NUM_SHOWN:]]), labels)
    axes.set_title("fine levels of the images above, coarse ones of those below")
    return figure


# %%
def written(name: str, scale: Scale, trained: dict, final: dict, sizes: dict, known: dict, null: dict) -> dict:
    """The results as they are kept."""
    records = []
    for kind, run in trained.items():
        records.append(
            {
                "name": f"{name}_{NAMES[kind]}",
                "value": float(final[kind].mean),
                "error": float(final[kind].error),
                "unit": "bits/dim",
                "minutes": float(run.minutes[-1]),
                "steps": run.num_steps,
                "parameters": sizes[kind],
                "curve": [run.minutes.round(3).tolist(), run.bits.round(4).tolist()],
            }
        )

    def by_level(found: dict, name: str) -> dict:
        return {
            kind: {str(level): np.asarray(getattr(one, name)).round(4).tolist() for level, one in levels.items()}
            for kind, levels in found.items()
        }

    return {
        "date": datetime.date.today().isoformat(),
        "machine": {"device": jax.devices()[0].device_kind, "cpus": os.cpu_count(), "python": platform.python_version(),
                    "jax": jax.__version__},
        "settings": {**scale._replace(training=None)._asdict(), **scale.training._asdict()},
        "records": records,
        "factors": [*SHARED, *OWN],
        "explained_by_level": {"measured": by_level(known, "explained"), "null": by_level(null, "explained")},
        "mutual_information_gap_by_level": by_level(known, "gap"),
    }  # fmt: skip


def print_known(kind: str, known: dict[int, flows.Disentanglement], null: dict[int, flows.Disentanglement]) -> None:
    """A line for each level: means over the factors that an image shares, and over those of one ellipse."""
    print(f"\n{kind}, what latents explain of factors")
    print(f"{'':<10}{'shared':>20}{'own':>8}{'null':>8}{'MIG':>8}{'null':>8}{'D':>8}{'null':>8}{'C':>8}")
    for level, one in known.items():
        explained, other = np.asarray(one.explained), null[level]
        print(
            f"level {level:<4}{explained[: len(SHARED)].mean():>20.3f}{explained[len(SHARED) :].mean():>8.3f}"
            f"{float(other.explained.mean()):>8.3f}{float(one.gap.mean()):>8.3f}{float(other.gap.mean()):>8.3f}"
            f"{float(one.disentanglement):>8.3f}{float(other.disentanglement):>8.3f}"
            f"{float(one.completeness.mean()):>8.3f}"
        )


def main(
    smoke: bool = False,
    out: str = "out/rgflow_msds",
    data: str = "msds1",
    minutes: float | None = None,
    prior: str = "gaussian",
) -> None:
    scale = SMOKE if smoke else FULL
    if minutes is not None:
        scale = scale._replace(training=scale.training._replace(minutes=minutes))
    train_key, test_key = jax.random.split(jax.random.key(0))
    test = GENERATORS[data](test_key, scale.num_test + scale.num_known)
    # A simple study is of one tile.
    rows, columns = (slice(scale.side * place, scale.side * (place + 1)) for place in TILE)
    where = (slice(None), rows, columns) if scale.is_simple else ...
    levels = GENERATORS[data](train_key, scale.num_train).images[where]
    num_chosen = min(256, len(levels) // 5)  # that choose the parameters; the others are trained on
    chosen_on, levels = levels[:num_chosen], levels[num_chosen:]
    held_out, seen = test.images[where][: scale.num_test], np.asarray(test.images[where][-scale.num_known :])
    noise = flows.images.uniform_dequantisation()
    # A Laplace prior of variance one, as published; quantiles of decimation are normal by construction.
    make_prior = flows.gaussian if prior == "gaussian" else functools.partial(flows.laplace, scale=0.5**0.5)
    made = flows_of(scale, make_prior)
    if smoke:
        del made[REALNVP]
    trained, final, samples, sizes = {}, {}, {"held-out images": np.asarray(held_out[:16]) / 255}, {}
    for kind, (_, density, *_) in made.items():
        folder = None if smoke else Path(out) / f"{data}_{prior}" / kind.replace(" ", "_")
        sizes[kind] = num_parameters(density)
        run = train(density, noise, levels, chosen_on, scale.training, folder, kind)
        trained[kind], final[kind] = run, evaluate(density, noise, run.params, held_out)
        if not smoke:
            samples[f"{kind}, drawn"] = np.asarray(density.sample(jax.random.key(3), run.params.density, 16)[0])
        print(
            f"{kind:<22} {sizes[kind]:>10,} parameters, {run.minutes[-1]:6.2f} minutes, {run.num_steps:>7,} steps: "
            f"{show(final[kind].mean, final[kind].error, 4)} bits/dim",
            flush=True,
        )

    labels, order = np.asarray(test.labels[-scale.num_known :]), np.arange(scale.num_known)
    known, null, figures = {}, {}, {}
    for kind in (DECIMATION, BLOCKS):
        flow, params = made[kind], trained[kind].params.density.flow
        params = params if flow.is_of_images else params[0]
        latents = flow.encode(params, seen, jax.random.key(4))
        known[kind] = known_by_level(latents, labels, order)
        null[kind] = known_by_level(latents, labels, np.random.default_rng(0).permutation(order))
        print_known(kind, known[kind], null[kind])
        found = looked_at(flow, params, make_prior, seen, latents, known[kind])
        found["disentanglement"] = draw_known(known[kind], null[kind])
        figures |= {f"{kind.split()[0]}_{name}": figure for name, figure in found.items()}
    figures |= {"curves": draw_curves(data, trained, final), "samples": draw_samples(samples)}
    save({f"{data}_{name}": figure for name, figure in figures.items()}, out)
    if not smoke and prior == "gaussian":
        kept = written(data, scale, trained, final, sizes, known, null)
        (RESULTS / f"flows_{data}.json").write_text(json.dumps(kept, indent=1) + "\n")


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="RG-Flow on images with factors of two scales.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default="out/rgflow_msds", help="folder of the figures and of the checkpoints")
    parser.add_argument("--data", choices=GENERATORS, default="msds1")
    parser.add_argument("--minutes", type=float, help="of training for each flow, those of earlier calls included")
    parser.add_argument("--prior", choices=("gaussian", "laplace"), default="gaussian")
    main(**vars(parser.parse_args()))
