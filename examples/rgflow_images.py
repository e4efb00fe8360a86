# %% [markdown]
# # Digits by scale: traverse, mix, inpaint
# Two hierarchical flows are trained on 4,500 handwritten digits: one of disentanglers and decimators on blocks, once
# with uniform noise inside the grey levels and once with noise that is learned; and decimation run backwards, whose
# pixels have levels to begin with. Then their latents are looked at scale by scale: one of them is moved, the coarse
# ones of two digits are exchanged, and patches are filled in from what is around them. The flow of blocks optimises the
# missing pixels through the blocks that they reach, their causal cone; beside it stands the same optimisation through
# the whole flow. Decimation draws the missing pixels given the others, many times over. All have the time they take
# and the signal-to-noise ratio against the true digit, and the mean digit as the control.
#
# A run goes on where it stopped: `python examples/rgflow_images.py --minutes 60`. Other images are `--data fashion`,
# which Debian's dataset-fashion-mnist brings, `--data faces`, 200 patches of photographs, or your own of any folder,
# resized to 32x32. `--prior laplace` gives the latents of the blocks heavier tails.

# %%
import argparse
import datetime
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from jaxrg import datasets, flows
from jaxrg.flows import bijectors
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _image_flows import (
    Flow,
    Training,
    evaluate,
    hierarchical,
    image_density,
    num_parameters,
    show_images,
    to_field,
    to_images,
    train,
)
from _study import HEADER, Claim, mean_and_error, print_claims, save, show

SIDE = 32
DATA = {"digits": "mnist", "fashion": "fashion", "faces": "faces"}  # and the first word of their figures
PRIORS = {"gaussian": flows.gaussian, "laplace": flows.laplace}
MEAN, CONE, WHOLE = "mean image", "blocks: cone", "blocks: whole flow"
DRAWN, MEAN_DRAWN = "one drawn", "mean of those drawn"
ENDS = jnp.array([-3.0, 3.0])  # of a traversal
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


class Scale(NamedTuple):
    """Size of the study."""

    num_train: int
    num_test: int
    num_layers: tuple[int, ...]
    hidden: int
    num_features: int  # of decimation run backwards
    training: Training
    num_filled: int  # images with a missing patch
    num_steps: int  # of the optimisation that fills them in
    num_particles: int  # drawn side by side, where they are drawn
    side: int = SIDE
    is_simple: bool = False

    @property
    def patch(self) -> slice:
        """Rows and columns that are missing, about the middle."""
        return slice(3 * self.side // 8, 5 * self.side // 8)


FULL = Scale(4_500, 500, (4, 4, 3, 2), 64, 24, Training(4.0, 64, 20, 2e-3), 16, 200, 256)
SMOKE = Scale(64, 32, (1,), 4, 4, Training(0.0, 16, 2), 2, 3, 4, SIDE // 4, is_simple=True)


# %%
def images_of(data: str, scale: Scale) -> tuple[jax.Array, jax.Array]:
    """Levels ``[num_images, side, side, 1]`` to train on and to test with; simple ones are ellipses, drawn at once."""
    if scale.is_simple:
        images = datasets.msds1(jax.random.key(0), scale.num_train + scale.num_test).images
        levels = images[:, : scale.side, : scale.side, :1]
        return levels[: scale.num_train], levels[scale.num_train :]
    if data in DATA:
        found = {"digits": datasets.mnist_5k, "fashion": datasets.fashion_mnist, "faces": datasets.lfw_faces}[data]()
        more = SIDE - found.inputs.shape[1]
        sides = (more // 2, more - more // 2)
        found = found._replace(inputs=jnp.pad(found.inputs, ((0, 0), sides, sides), mode="edge")[..., None])
    else:
        found = datasets.image_folder(data, (SIDE, SIDE), num_channels=1)
    num_test = min(scale.num_test, found.inputs.shape[0] // 5)
    num_train = min(scale.num_train, found.inputs.shape[0] - num_test)
    parts = datasets.split(jax.random.key(0), found, num_train, num_test)
    return tuple(flows.images.nearest_levels(part.inputs) for part in parts)  # type: ignore[return-value]


def learned_noise(side: int, hidden: int) -> flows.images.Dequantisation:
    """A logistic distribution of the noise of every pixel, whose place and width depend on its level."""
    shape = (1, side, side)
    conditioner = bijectors.perceptron((hidden,))
    layer = bijectors.affine_coupling(shape, np.zeros(1, bool), conditioner, condition_shape=shape)
    return flows.images.variational_dequantisation(layer)


def middles(levels: jax.Array) -> jax.Array:
    """The fields whose grey levels are in the middle of their step."""
    return to_field((levels.astype(jnp.float32) + 0.5) / 256)


# %% [markdown]
# The optimisation through the whole flow does the same as `flows.inpaint`, without knowing the cone.


# %%
def search_of_whole_flow(density: Any, params: Any, is_missing: Any, num_steps: int) -> Any:
    """``filled = search(field)``: the most probable missing pixels, each step through all blocks."""
    optimizer = optax.adam(0.05)
    mask = jnp.asarray(is_missing)[..., None]

    @jax.jit
    def search(field: jax.Array) -> jax.Array:
        def loss_fn(values: jax.Array) -> jax.Array:
            return -density.log_prob(params, jnp.where(mask, values, field)[None])[0]

        def step(_: Any, carry: tuple) -> tuple:
            values, state = carry
            updates, state = optimizer.update(jax.grad(loss_fn)(values), state)
            return values + updates, state

        with jax.numpy_dtype_promotion("standard"):
            values, _ = jax.lax.fori_loop(0, num_steps, step, (field, optimizer.init(field)))
        return jnp.where(mask, values, field)

    return search


class Filled(NamedTuple):
    """Images with their missing patches filled in, and what it cost."""

    images: np.ndarray
    psnr: np.ndarray  # decibel, of the patch
    seconds: float  # of one image, compilation apart


def fill_in(fill: Any, levels: jax.Array, truth: np.ndarray, patch: slice) -> Filled:
    jax.block_until_ready(fill(levels[0]))
    begun = time.perf_counter()
    found = [jax.block_until_ready(fill(one)) for one in levels]
    seconds = (time.perf_counter() - begun) / len(found)
    images = np.asarray(jnp.stack(found))
    psnr = flows.images.peak_signal_to_noise(*(jnp.asarray(some[:, patch, patch]) for some in (images, truth)))
    return Filled(images, np.asarray(psnr), seconds)


def inpainted(
    blocks: Flow,
    prior: Any,
    params: Any,
    digits: Flow,
    digit_params: Any,
    train_levels: Any,
    levels: Any,
    scale: Scale,
) -> dict[str, Filled]:
    """Patches filled in by the mean image, by the cone and the whole flow of blocks, and drawn from coarse to fine."""
    is_missing = np.zeros((scale.side, scale.side), bool)
    is_missing[scale.patch, scale.patch] = True
    truth = np.asarray(levels, np.float32) / 255
    given = jnp.where(jnp.asarray(is_missing)[None, ..., None], 10, levels)  # the patch begins nearly black
    mean = jnp.asarray(np.asarray(train_levels, np.float32).mean(0) / 255)
    own = flows.FlowParams(params, ())
    search = search_of_whole_flow(flows.density(blocks.flow, prior), own, is_missing, scale.num_steps)

    def by_cone(levels: jax.Array) -> jax.Array:
        field = middles(levels)
        return to_images(flows.inpaint(blocks.flow, prior, own, field, is_missing, num_steps=scale.num_steps).field)

    def drawn(levels: jax.Array) -> jax.Array:
        arguments = jax.random.key(8), digits.flow, digit_params, levels, is_missing
        return flows.images.complete(*arguments, num_particles=scale.num_particles).levels / 255

    ways = {
        MEAN: lambda levels: jnp.where(jnp.asarray(is_missing)[..., None], mean, levels / 255),
        CONE: by_cone,
        WHOLE: lambda levels: to_images(search(middles(levels))),
        DRAWN: lambda levels: drawn(levels)[0],
        MEAN_DRAWN: lambda levels: drawn(levels).mean(0),
    }
    return {name: fill_in(way, given, truth, scale.patch) for name, way in ways.items()}


# %%
def draw_scales(made: Flow, params: Any, levels: np.ndarray) -> dict[str, Figure]:
    """Latents moved one at a time, and exchanged from a level on."""
    latents = made.encode(params, levels[:16], jax.random.key(4))
    rows, labels = [], []
    for level, values in latents.items():
        one = {key: part[0] for key, part in latents.items()}
        places = [
            np.unravel_index(place, values.shape[1:]) for place in np.linspace(0, values[0].size - 1, 64, dtype=int)
        ]
        ends = [made.images(flows.traverse(made.flow, params, one, level, place, ENDS)) for place in places]
        index = places[int(np.argmax([float(jnp.sum((low - high) ** 2)) for low, high in ends]))]
        rows.append(made.images(flows.traverse(made.flow, params, one, level, index, jnp.linspace(-3, 3, 9))))
        labels.append(f"level {level}")
    traversal, [[axes]] = style.new_figure(1, 1, size=(8, len(rows) + 0.5))
    show_images(axes, np.stack(rows), labels)
    axes.set_title("of 64 latents of each level the one that moves this image most, from -3 to 3")

    fine, coarse = ({level: part[side] for level, part in latents.items()} for side in (slice(0, 8), slice(8, 16)))
    exchanged = [flows.mix(fine, coarse, level) for level in range(1, len(latents))]
    mixed = [np.asarray(made.images(flows.decode(made.flow, params, both)[0])) for both in exchanged]
    given = np.asarray(levels[:16], np.float32) / 255
    labels = ["fine of", *(f"levels < {level}" for level in range(1, len(latents))), "coarse of"]
    mixing, [[axes]] = style.new_figure(1, 1, size=(8, len(labels) + 0.5))
    show_images(axes, np.stack([given[:8], *mixed, given[8:]]), labels)
    axes.set_title("fine levels of the images above, coarse ones of those below")
    return {"traversals": traversal, "mixing": mixing}


def draw_filled(filled: dict[str, Filled], truth: np.ndarray, patch: slice) -> Figure:
    shown = min(8, len(truth))
    holes = truth.copy()
    holes[:, patch, patch] = 0.5
    labels, pictures = ["truth", "given"], [truth, holes]
    for name, one in filled.items():
        cost = "" if name == MEAN else f", {one.seconds:.2g} s"
        labels.append(f"{name}\n{show(*mean_and_error(one.psnr), 1)} dB{cost}")
        pictures.append(one.images)
    figure, [[axes]] = style.new_figure(1, 1, size=(9, 1.05 * len(labels) + 0.4))
    show_images(axes, np.stack([picture[:shown] for picture in pictures]), labels)
    width = patch.stop - patch.start
    axes.set_title(f"a patch of {width} x {width} pixels filled in")
    return figure


# %%
def main(
    smoke: bool = False,
    out: str = "out/rgflow_images",
    minutes: float | None = None,
    data: str = "digits",
    prior: str = "gaussian",
) -> None:
    scale = SMOKE if smoke else FULL
    if minutes is not None:
        scale = scale._replace(training=scale.training._replace(minutes=minutes))
    train_levels, test_levels = images_of(data, scale)
    num_chosen = min(256, len(train_levels) // 5)  # that choose the parameters; the others are trained on
    chosen_on, train_levels = train_levels[:num_chosen], train_levels[num_chosen:]
    label = DATA.get(data, Path(data).name) + ("" if prior == "gaussian" else f"_{prior}")
    shape = (scale.side, scale.side, 1)
    flow = hierarchical(shape[:2], 1, scale.num_layers, scale.hidden, scale.is_simple)
    shapes = flows.geometry(flow).latent_shapes
    blocks = Flow(flow, image_density(flow, shape, shapes, PRIORS[prior]), shapes, False)
    flow = flows.images.image_decimation(shape, num_features=scale.num_features)
    shapes = flows.latent_shapes(flow, shape)
    digits = Flow(flow, flows.density(flow, flows.gaussian(shapes)), shapes, True)
    uniform = flows.images.uniform_dequantisation()
    ways = {
        "uniform": (blocks, uniform),
        "learned": (blocks, learned_noise(scale.side, 16)),
        "decimation": (digits, uniform),
    }
    runs, bits = {}, {}
    for name, (made, noise) in ways.items():
        print(f"{name}: {num_parameters(made.density):,} parameters, {train_levels.shape[0]:,} images", flush=True)
        place = None if smoke else Path(out) / label / name
        runs[name] = train(made.density, noise, train_levels, chosen_on, scale.training, place, name)
        bits[name] = evaluate(made.density, noise, runs[name].params, test_levels)
    num_draws = 1 if smoke else 16
    many = evaluate(blocks.density, uniform, runs["uniform"].params, test_levels, num_draws=num_draws)
    params, digit_params = runs["uniform"].params.density.flow[0], runs["decimation"].params.density.flow
    some, of_latents = test_levels[: scale.num_filled], PRIORS[prior](blocks.latent_shapes)
    filled = inpainted(blocks, of_latents, params, digits, digit_params, train_levels, some, scale)
    speedup = filled[WHOLE].seconds / filled[CONE].seconds

    gain, gain_error = mean_and_error(np.asarray(bits["uniform"].of_images) - np.asarray(bits["learned"].of_images))
    psnr = {name: show(*mean_and_error(one.psnr), 2) for name, one in filled.items()}
    found = {name: show(one.mean, one.error, 4) for name, one in bits.items()}
    print_claims(
        [
            HEADER,
            Claim("bits/dim, blocks, uniform noise, 1 draw", "", found["uniform"], "8 (uniform levels)"),
            Claim(f"bits/dim, the same, {num_draws} draws", "", show(many.mean, many.error, 4), ""),
            Claim("bits/dim, blocks, learned noise, 1 draw", "lower", found["learned"], ""),
            Claim("gain of learned noise, bits/dim", "0.05 to 0.1", show(gain, gain_error, 4, "+"), "0"),
            Claim("bits/dim, decimation run backwards", "", found["decimation"], ""),
            Claim("PSNR of a patch by its cone / dB", "", psnr[CONE], f"{MEAN} {psnr[MEAN]}"),
            Claim("PSNR by the whole flow / dB", "the same", psnr[WHOLE], ""),
            Claim("PSNR of the mean of those drawn / dB", "", psnr[MEAN_DRAWN], f"of one {psnr[DRAWN]}"),
            Claim("time of the whole flow over the cone's", "", f"{speedup:.1f}", "1"),
        ]
    )
    samples, grid = style.new_figure(1, 3, size=(12, 4.3))
    given = {"held-out images": np.asarray(test_levels[:16]) / 255}
    for name, of in (("blocks", "uniform"), ("decimation", "decimation")):
        drawn = ways[of][0].density.sample(jax.random.key(3), runs[of].params.density, 16)[0]
        given[f"{name}, drawn"] = np.asarray(drawn)
    for axes, (title, some) in zip(grid[0], given.items(), strict=True):
        show_images(axes, some.reshape(4, 4, *some.shape[1:]))
        axes.set_title(title)
    truth = np.asarray(test_levels[: scale.num_filled], np.float32) / 255
    figures = {"samples": samples, "inpainting": draw_filled(filled, truth, scale.patch)}
    for name, made, own in (("blocks", blocks, params), ("decimation", digits, digit_params)):
        figures |= {f"{name}_{key}": one for key, one in draw_scales(made, own, np.asarray(test_levels)).items()}
    save(figures, out)
    if not smoke and data in DATA:
        record = {
            "date": datetime.date.today().isoformat(),
            "machine": {"device": jax.devices()[0].device_kind, "cpus": os.cpu_count(),
                        "python": platform.python_version(), "jax": jax.__version__},
            "settings": {
                "command": f"examples/rgflow_images.py --data {data} --prior {prior} --minutes {minutes or 4:g}",
                "data": data, "prior": prior, **scale._replace(training=None)._asdict(), **scale.training._asdict()
            },
            "records": [
                {"name": f"{label}_bits_{name}", "value": float(one.mean), "error": float(one.error),
                 "unit": "bits/dim", "minutes": float(runs[name].minutes[-1]), "steps": runs[name].num_steps}
                for name, one in bits.items()
            ] + [
                {"name": f"{label}_inpaint_psnr_{name.replace(':', '').replace(' ', '_')}",
                 "value": float(one.psnr.mean()), "error": float(mean_and_error(one.psnr)[1]), "unit": "dB",
                 "seconds": one.seconds}
                for name, one in filled.items()
            ] + [{"name": f"{label}_inpaint_speedup", "value": speedup, "unit": "times less"}],
        }  # fmt: skip
        (RESULTS / ("flows_images.json" if label == "mnist" else f"flows_images_{label}.json")).write_text(
            json.dumps(record, indent=1) + "\n"
        )


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Digits by scale: traverse, mix, inpaint.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default="out/rgflow_images", help="folder of the figures and of the checkpoints")
    parser.add_argument("--minutes", type=float, help="of training for each noise, those of earlier calls included")
    parser.add_argument("--data", default="digits", help="digits, fashion, faces, or a folder of your own images")
    parser.add_argument("--prior", default="gaussian", choices=PRIORS, help="of the latents of the blocks")
    main(**vars(parser.parse_args()))
