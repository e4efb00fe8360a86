# %% [markdown]
# # Digits by scale: traverse, mix, inpaint
# A hierarchical flow is trained on 4,500 handwritten digits, once with uniform noise inside the grey levels and once
# with noise that is learned. Then its latents are looked at scale by scale: one of them is moved, the coarse ones of
# two digits are exchanged, and patches are filled in from what is around them. Filling in optimises the missing pixels
# through the blocks that they reach, their causal cone; beside it stands the same optimisation through the whole
# flow, with the time of both and the signal-to-noise ratio against the true digit, and a patch filled with the mean
# digit as the control.
#
# A run goes on where it stopped: `python examples/rgflow_images.py --minutes 60`. Your own images come from a folder by
# `--folder`, resized to 32x32.

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
MEAN = "mean digit"
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
PATCH = slice(12, 20)  # rows and columns that are missing


class Scale(NamedTuple):
    """Size of the study."""

    num_train: int
    num_test: int
    num_layers: tuple[int, ...]
    hidden: int
    training: Training
    num_filled: int  # images with a missing patch
    num_steps: int  # of the optimisation that fills them in
    is_simple: bool = False


FULL = Scale(4_500, 500, (4, 4, 3, 2), 64, Training(4.0, 64, 20), 16, 200)
SMOKE = Scale(64, 32, (1,), 4, Training(0.0, 16, 2), 2, 3, is_simple=True)


# %%
def images_of(folder: str | None, scale: Scale) -> tuple[jax.Array, jax.Array]:
    """Levels ``[num_images, 32, 32, 1]`` to train on and to test with; simple ones are ellipses, drawn at once."""
    if folder is None and scale.is_simple:
        levels = datasets.msds1(jax.random.key(0), scale.num_train + scale.num_test).images[..., :1]
        return levels[: scale.num_train], levels[scale.num_train :]
    if folder is None:
        data = datasets.mnist_5k()
        data = data._replace(inputs=jnp.pad(data.inputs, ((0, 0), (2, 2), (2, 2)))[..., None])
    else:
        data = datasets.image_folder(folder, (SIDE, SIDE), num_channels=1)
    num_test = min(scale.num_test, data.inputs.shape[0] // 5)
    num_train = min(scale.num_train, data.inputs.shape[0] - num_test)
    parts = datasets.split(jax.random.key(0), data, num_train, num_test)
    return tuple(flows.images.nearest_levels(part.inputs) for part in parts)  # type: ignore[return-value]


def learned_noise(hidden: int) -> flows.images.Dequantisation:
    """A logistic distribution of the noise of every pixel, whose place and width depend on its level."""
    shape = (1, SIDE, SIDE)
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


def fill_in(fill: Any, fields: jax.Array, truth: np.ndarray) -> Filled:
    jax.block_until_ready(fill(fields[0]))
    begun = time.perf_counter()
    found = [jax.block_until_ready(fill(field)) for field in fields]
    seconds = (time.perf_counter() - begun) / len(found)
    images = np.asarray(to_images(jnp.stack(found)))
    psnr = flows.images.peak_signal_to_noise(*(jnp.asarray(some[:, PATCH, PATCH]) for some in (images, truth)))
    return Filled(images, np.asarray(psnr), seconds)


def inpainted(flow: Any, prior: Any, params: Any, train_levels: Any, levels: Any, scale: Scale) -> dict[str, Filled]:
    """Patches filled in by the mean digit, by the cone and by the whole flow."""
    is_missing = np.zeros((SIDE, SIDE), bool)
    is_missing[PATCH, PATCH] = True
    truth = np.asarray(levels, np.float32) / 255
    start = middles(jnp.full((SIDE, SIDE, 1), 10, jnp.int32))  # nearly black
    fields = jnp.where(jnp.asarray(is_missing)[None, ..., None], start[None], middles(levels))
    mean = jnp.asarray(np.asarray(train_levels, np.float32).mean(0).astype(np.int32))
    whole = flows.density(flow, prior)
    own = flows.FlowParams(params, ())
    ways = {
        MEAN: lambda field: jnp.where(jnp.asarray(is_missing)[..., None], middles(mean), field),
        "cone": lambda field: flows.inpaint(flow, prior, own, field, is_missing, num_steps=scale.num_steps).field,
        "whole flow": search_of_whole_flow(whole, own, is_missing, scale.num_steps),
    }
    return {name: fill_in(way, fields, truth) for name, way in ways.items()}


# %%
def draw_scales(flow: Any, params: Any, levels: jax.Array) -> dict[str, Figure]:
    """Latents moved one at a time, and exchanged from a level on."""
    latents = flows.encode(flow, params, middles(levels[:16]))[0]
    rows, labels = [], []
    for level, values in latents.items():
        spread = np.asarray(values.reshape(16, -1).std(0))
        best = int(np.argmax(spread))  # the latent that differs most from digit to digit
        one = {key: part[0] for key, part in latents.items()}
        index = np.unravel_index(best, values.shape[1:])
        rows.append(to_images(flows.traverse(flow, params, one, level, index, jnp.linspace(-3, 3, 9))))
        labels.append(f"level {level}")
    traversal, [[axes]] = style.new_figure(1, 1, size=(8, len(rows) + 0.5))
    show_images(axes, np.stack(rows), labels)
    axes.set_title("the latent of each level that varies most, from -3 to 3")

    fine, coarse = ({level: part[side] for level, part in latents.items()} for side in (slice(0, 8), slice(8, 16)))
    decode = jax.jit(lambda latents: to_images(flows.decode(flow, params, latents)[0]))
    mixed = [decode(flows.mix(fine, coarse, level)) for level in range(1, len(latents))]
    given = np.asarray(levels[:16], np.float32) / 255
    labels = ["fine of", *(f"levels < {level}" for level in range(1, len(latents))), "coarse of"]
    mixing, [[axes]] = style.new_figure(1, 1, size=(8, len(labels) + 0.5))
    show_images(axes, np.stack([given[:8], *map(np.asarray, mixed), given[8:]]), labels)
    axes.set_title("fine levels of the digits above, coarse ones of those below")
    return {"traversals": traversal, "mixing": mixing}


def draw_filled(filled: dict[str, Filled], truth: np.ndarray) -> Figure:
    shown = min(8, len(truth))
    holes = truth.copy()
    holes[:, PATCH, PATCH] = 0.5
    labels, pictures = ["truth", "given"], [truth, holes]
    for name, one in filled.items():
        cost = "" if name == MEAN else f", {one.seconds:.2g} s"
        labels.append(f"{name}\n{show(*mean_and_error(one.psnr), 1)} dB{cost}")
        pictures.append(one.images)
    figure, [[axes]] = style.new_figure(1, 1, size=(9, 1.05 * len(labels) + 0.4))
    show_images(axes, np.stack([picture[:shown] for picture in pictures]), labels)
    axes.set_title("a patch of 8 x 8 pixels filled in")
    return figure


# %%
def main(
    smoke: bool = False,
    out: str = "out/rgflow_images",
    minutes: float | None = None,
    folder: str | None = None,
) -> None:
    scale = SMOKE if smoke else FULL
    if minutes is not None:
        scale = scale._replace(training=scale.training._replace(minutes=minutes))
    train_levels, test_levels = images_of(folder, scale)
    flow = hierarchical((SIDE, SIDE), 1, scale.num_layers, scale.hidden, scale.is_simple)
    prior = flows.gaussian(flows.geometry(flow).latent_shapes)
    density = image_density(flow, (SIDE, SIDE, 1), flows.geometry(flow).latent_shapes, flows.gaussian)
    noises = {"uniform": flows.images.uniform_dequantisation(), "learned": learned_noise(16)}
    print(f"{num_parameters(density):,} parameters, {train_levels.shape[0]:,} images", flush=True)
    runs, bits = {}, {}
    for name, noise in noises.items():
        place = None if smoke else Path(out) / ("images" if folder else "mnist") / name
        runs[name] = train(density, noise, train_levels, test_levels[:256], scale.training, place, f"{name} noise")
        bits[name] = evaluate(density, noise, runs[name].params, test_levels)
    many = evaluate(density, noises["uniform"], runs["uniform"].params, test_levels, num_draws=1 if smoke else 16)
    params = runs["uniform"].params.density.flow[0]
    filled = inpainted(flow, prior, params, train_levels, test_levels[: scale.num_filled], scale)
    speedup = filled["whole flow"].seconds / filled["cone"].seconds

    uniform, learned = bits["uniform"], bits["learned"]
    gain, gain_error = mean_and_error(np.asarray(uniform.of_images) - np.asarray(learned.of_images))
    psnr = {name: show(*mean_and_error(one.psnr), 2) for name, one in filled.items()}
    print_claims(
        [
            HEADER,
            Claim("bits/dim, uniform noise, 1 draw", "", show(uniform.mean, uniform.error, 4), "8 (uniform levels)"),
            Claim("bits/dim, uniform noise, 16 draws", "", show(many.mean, many.error, 4), ""),
            Claim("bits/dim, learned noise, 1 draw", "lower", show(learned.mean, learned.error, 4), ""),
            Claim("gain of learned noise, bits/dim", "0.05 to 0.1", show(gain, gain_error, 4, "+"), "0"),
            Claim("PSNR of a patch by its cone / dB", "", psnr["cone"], f"mean digit {psnr[MEAN]}"),
            Claim("PSNR by the whole flow / dB", "the same", psnr["whole flow"], ""),
            Claim("time of the whole flow over the cone's", "20", f"{speedup:.1f}", "1"),
        ]
    )
    drawn = density.sample(jax.random.key(3), runs["uniform"].params.density, 16)[0]
    samples, grid = style.new_figure(1, 2, size=(8, 4.3))
    given = {"held-out images": np.asarray(test_levels[:16]) / 255, "drawn": np.asarray(drawn)}
    for axes, (title, some) in zip(grid[0], given.items(), strict=True):
        show_images(axes, some.reshape(4, 4, *some.shape[1:]))
        axes.set_title(title)
    truth = np.asarray(test_levels[: scale.num_filled], np.float32) / 255
    figures = draw_scales(flow, params, test_levels) | {"samples": samples, "inpainting": draw_filled(filled, truth)}
    save(figures, out)
    if not smoke and folder is None:
        record = {
            "date": datetime.date.today().isoformat(),
            "machine": {"device": jax.devices()[0].device_kind, "cpus": os.cpu_count(),
                        "python": platform.python_version(), "jax": jax.__version__},
            "settings": {**scale._replace(training=None)._asdict(), **scale.training._asdict()},
            "records": [
                {"name": f"mnist_bits_{name}", "value": float(one.mean), "error": float(one.error), "unit": "bits/dim",
                 "minutes": float(runs[name].minutes[-1]), "steps": runs[name].num_steps}
                for name, one in bits.items()
            ] + [
                {"name": f"mnist_inpaint_psnr_{name.replace(' ', '_')}", "value": float(one.psnr.mean()),
                 "error": float(mean_and_error(one.psnr)[1]), "unit": "dB", "seconds": one.seconds}
                for name, one in filled.items()
            ] + [{"name": "mnist_inpaint_speedup", "value": speedup, "unit": "times less"}],
        }  # fmt: skip
        (RESULTS / "flows_images.json").write_text(json.dumps(record, indent=1) + "\n")


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Digits by scale: traverse, mix, inpaint.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default="out/rgflow_images", help="folder of the figures and of the checkpoints")
    parser.add_argument("--minutes", type=float, help="of training for each noise, those of earlier calls included")
    parser.add_argument("--folder", help="your own images in place of the digits")
    main(**vars(parser.parse_args()))
