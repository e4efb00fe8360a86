"""What the studies share: tables of claims, means with errors, figures in a folder, and the smoke switch."""

import argparse
import functools
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrg import training

NUM_EPOCHS = 20  # of a training that is kept in a folder, at most
SECONDS = "seconds.json"
STRENGTH = "strength $I^{(k)}$ / mean over $k$"


class Claim(NamedTuple):
    """A line of the table: what was published, what is measured here, and the same without what it is said to need."""

    claim: str
    published: str
    measured: str
    control: str


HEADER = Claim("claim", "published", "measured ± error", "control")


def print_claims(claims: Iterable[Claim], *, widths: tuple[int, int, int] | None = None) -> None:
    """One claim a line in columns, each as wide as its longest entry unless widths are given."""
    rows = list(claims)
    columns = widths or [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [f"{text:<{width}}" for text, width in zip(row[:3], columns, strict=True)]
        print(" | ".join([*cells, row.control]), flush=True)


def mean_and_error(samples: Any, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and its standard error; zero for one sample."""
    values = np.asarray(samples, float)
    return values.mean(axis), values.std(axis) / np.sqrt(max(values.shape[axis] - 1, 1))


def show(value: Any, error: Any, digits: int = 2, sign: str = "") -> str:
    """A number with its error; ``sign="+"`` for differences."""
    return f"{float(value):{sign}.{digits}f} ± {float(error):.{digits}f}"


def plus_minus(samples: Any, digits: int = 2, sign: str = "") -> str:
    """Mean of the samples with its standard error, as text."""
    return show(*mean_and_error(samples), digits, sign)


def save(figures: Mapping[str, Figure], folder: str | Path, *, dpi: int = 130) -> None:
    """Write every figure as a PNG of its name."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(path / f"{name}.png", dpi=dpi)
    print(f"figures in {path}: {', '.join(f'{name}.png' for name in figures)}")


def averaged_adam(
    num_steps: int, rate: float, *, warmup: int, decay: float = 0.99, last: Iterable[optax.GradientTransformation] = ()
) -> optax.GradientTransformation:
    """Adam of clipped gradients with a warm-up and a cosine, what comes last, and averaged parameters."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, warmup, num_steps)
    clipped = optax.clip_by_global_norm(20.0), optax.adam(schedule, b2=0.99)
    return optax.chain(*clipped, *last, training.moving_average(decay))


@functools.cache
def _optimizer(num_steps: int, rate: float, num_kept: int) -> optax.GradientTransformation:
    """The same one for as many steps, so that programs are shared."""
    last = [optax.masked(optax.set_to_zero(), functools.partial(_finest, num_kept))] if num_kept else []
    decay = max(0.99, 1 - 20 / num_steps)
    return averaged_adam(num_steps, rate, warmup=min(50, num_steps // 20), decay=decay, last=last)


def _finest(count: int, params: Any) -> Any:
    """Which parameters are those of so many levels, the finest first."""
    levels = params["levels"]
    return dict.fromkeys(params, False) | {"levels": type(levels)(number < count for number in range(len(levels)))}


def fitted(
    gradient_fn: Any, params: Any, num_steps: int, rate: float, folder: Path, *, aux: Any = (), num_kept: int = 0
) -> Any:
    """Averaged parameters, kept in a folder from which it goes on; so many of the finest levels stay as they are."""
    num_epochs = max(count for count in range(1, NUM_EPOCHS + 1) if num_steps % count == 0)
    clock, before, start = folder / SECONDS, spent(folder), time.time()

    def keep_time(run: training.Fit) -> None:
        seconds = json.loads(clock.read_text())[: run.epoch] if clock.exists() else []
        if run.epoch > len(seconds):
            clock.write_text(json.dumps([*seconds, before + time.time() - start]))

    run = training.fit(
        jax.random.key(2),
        gradient_fn,
        _optimizer(num_steps, rate, num_kept),
        params,
        aux=aux,
        num_epochs=num_epochs,
        steps_per_epoch=num_steps // num_epochs,
        checkpoint_dir=folder,
        on_epoch=keep_time,
        progress=lambda done, total, text: print(f"    {done}/{total} {text}", flush=True),
    )
    return training.averaged_params(run.optimizer_state)


def of_size(counts: Sequence[int], number: int) -> int:
    """The count for a size; the last one for all sizes beyond."""
    return counts[min(number, len(counts) - 1)]


def sizes_parser(description: str, out: str) -> argparse.ArgumentParser:
    """A command line for a study of several sizes, whose counts are given for each size or the last for all beyond."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default=out, help="folder of figures and checkpoints")
    parser.add_argument("--sizes", type=int, nargs="*", help="sides, in order")
    parser.add_argument("--steps", dest="num_steps", type=int, nargs="*", help="training steps of each")
    parser.add_argument("--refine-steps", type=int, nargs="*", help="and steps on the log-weights")
    parser.add_argument("--draws", dest="num_draws", type=int, nargs="*", help="draws the figures of each are from")
    parser.add_argument("--json", dest="json_file", default="", help="file for the figures")
    return parser


def with_given(scale: Any, given: Mapping[str, Any]) -> Any:
    """The size of a study with what was given on its command line."""
    counts = {name: tuple(count) if isinstance(count, list) else count for name, count in given.items() if count}
    return scale._replace(**counts)


def spent(*folders: Path) -> float:
    """Seconds of training that `fitted` has counted in folders, broken calls up to their last epoch included."""
    clocks = [folder / SECONDS for folder in folders]
    return sum(json.loads(clock.read_text())[-1] for clock in clocks if clock.exists())


def write_results(file: str, command: str, scale: Any, content: Mapping[str, Any]) -> None:
    """Settings with the date, and figures, as JSON, if a file was given; ``records`` are what benchmarks read."""
    if file:
        given: list[str] = []
        for word in sys.argv[1:]:  # without folders of this machine, and what they are given for
            if os.sep not in word:
                given.append(word)
            elif not word.startswith("--") and given:
                given.pop()
        command = shlex.join([*command.split(), *(word for word in given if word not in ("--json", "--out"))])
        machine = {"machine": platform.processor() or platform.machine(), "date": time.strftime("%Y-%m-%d")}
        settings = scale._asdict() | machine | {"command": command}
        Path(file).write_text(json.dumps({"settings": settings} | dict(content), indent=2) + "\n")


def order_axis(axes: Axes, num_orders: int) -> np.ndarray:
    """Label the x axis by the orders 1 ... n, and return them."""
    orders = np.arange(1, num_orders + 1)
    axes.set_xticks(orders)
    axes.set_xlabel("order $k$ / players")
    return orders


def band(axes: Axes, x: Any, value: Any, error: Any, colour: str, **options: Any) -> None:
    """A line with its error as a band."""
    value, error = np.asarray(value), np.asarray(error)
    axes.plot(x, value, color=colour, **options)
    axes.fill_between(x, value - error, value + error, color=colour, alpha=0.2, linewidth=0)


def run_main(main: Callable[..., None], description: str) -> None:
    """Call ``main(smoke, out)`` as the command line says."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default=f"out/{Path(main.__code__.co_filename).stem}", help="folder of the figures")
    arguments = parser.parse_args()
    main(smoke=arguments.smoke, out=arguments.out)
