"""Network dissection: thresholds, overlaps and correlations of a layer on labelled scenes, in seconds and bytes.

The layer is one convolution of 64 x 64 images with ReLU, so that little of the time is the network's; its time alone is
a record beside. Bytes are what the resident memory rises by, above the process with its data set and programs.
"""

import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.timing import medians, record
from jaxrg import datasets
from jaxrg.explain import dissection

RESIDENT = Path("/proc/self/statm")
SIDE, NUM_UNITS, NUM_IMAGES, SECONDS_BETWEEN = 64, 256, 10_000, 0.002
NUM_FULL = 1_000  # images whose maps have as many positions as pixels

Record = dict[str, Any]


def _layer(num_units: int, stride: int) -> Callable:
    """Maps of 64 / stride by as many positions."""
    size = max(stride, 3)
    kernel = jax.random.normal(jax.random.key(0), (size, size, 3, num_units)) / size

    def maps(images: jax.Array) -> jax.Array:
        numbers = ("NHWC", "HWIO", "NHWC")
        centred = images / 255 - 0.5
        return jax.nn.relu(
            jax.lax.conv_general_dilated(centred, kernel, (stride, stride), "SAME", dimension_numbers=numbers)
        )

    return maps


def _resident() -> int:
    return int(RESIDENT.read_text().split()[1]) * resource.getpagesize()


def _watched(work: Callable[[], Any]) -> tuple[float, float, int, int]:
    """Seconds of a call on the wall and of all cores, and by how much and to what the resident memory rose."""
    before = most = _resident()
    is_done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_done.wait(SECONDS_BETWEEN):
            most = max(most, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, processor = time.perf_counter(), time.process_time()
    try:
        work()
    finally:
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        is_done.set()
        watcher.join()
    return seconds, processor, most - before, most


def _dissect(maps_fn: Callable, images: np.ndarray, labels: np.ndarray, categories: np.ndarray, batch: int) -> Any:
    levels = dissection.activation_quantiles(maps_fn, images, batch_size=batch)
    return dissection.dissect(maps_fn, images, labels, categories, levels, batch_size=batch)


def _network_seconds(maps_fn: Callable, images: np.ndarray, batch: int) -> float:
    """Of the three passes over the network alone."""
    apply, part = jax.jit(maps_fn), images[:batch].astype(np.float32)
    seconds = medians({"network": lambda: jax.block_until_ready(apply(part))}, repeats=5)["network"]
    return 3 * seconds * len(images) / batch


def _whole(scenes: datasets.Scenes, maps_fn: Callable, batch: int, name: str) -> list[Record]:
    """The row of the table, at one size of the maps."""
    images, labels, categories = (np.asarray(part) for part in scenes)
    start = time.perf_counter()
    _dissect(maps_fn, images[:batch], labels[:batch], categories, batch)
    compiling = time.perf_counter() - start
    network = _network_seconds(maps_fn, images, batch)
    seconds, processor, rise, most = _watched(lambda: _dissect(maps_fn, images, labels, categories, batch))
    _, *sides, units = jax.eval_shape(maps_fn, jax.ShapeDtypeStruct((1, *images.shape[1:]), np.float32)).shape
    what = f"{len(images)} images, {units} units, {SIDE}x{SIDE}, {len(categories)} concepts, maps {sides}"
    return [
        record(f"{name}_seconds", seconds, f"s; {what}"),
        record(f"{name}_processor_seconds", processor, "s of all cores"),
        record(f"{name}_network_seconds", network, "s of these, three passes of the layer alone"),
        record(f"{name}_compile_seconds", compiling, "s, with the first batch, not counted above"),
        record(f"{name}_peak_bytes", rise, "bytes above the process with its data"),
        record(f"{name}_resident_bytes", most, "bytes in all, with JAX and the data set"),
    ]


def _plain_numpy(maps_fn: Callable, images: np.ndarray, masks: np.ndarray, batch: int) -> np.ndarray:
    """Intersections as one writes them down: all maps, their quantile, enlarged maps, one product of masks."""
    parts = [images[start : start + batch].astype(np.float32) for start in range(0, len(images), batch)]
    maps = np.concatenate([np.asarray(maps_fn(part)) for part in parts])
    levels = np.quantile(maps, 0.995, axis=(0, 1, 2), method="inverted_cdf")
    total = np.zeros((maps.shape[-1], masks.shape[1]), np.int64)
    for one, mask in zip(maps, masks, strict=True):
        active = np.asarray(dissection.upsample(one[None], masks.shape[2:]))[0] > levels
        total += (active.reshape(-1, maps.shape[-1]).T.astype(np.float32) @ mask.reshape(len(mask), -1).T).astype(int)
    return total


def _against_numpy(scenes: datasets.Scenes, maps_fn: Callable, batch: int) -> Record:
    """Both with the network, and with the same integers in the end."""
    images, labels, categories = (np.asarray(part) for part in scenes)
    masks = np.any(labels[:, :, None] == np.arange(len(categories))[:, None, None], axis=1).astype(np.float32)
    apply = jax.jit(maps_fn)
    calls = {
        "jaxrg": lambda: _dissect(maps_fn, images, labels, categories, batch),
        "numpy": lambda: _plain_numpy(apply, images, masks, batch),
    }
    assert np.array_equal(calls["jaxrg"]().intersections, calls["numpy"]())
    seconds = medians(calls, repeats=3)
    ours, theirs = seconds["jaxrg"], seconds["numpy"]
    return record("dissection_vs_numpy", ours, "s", peer="numpy", peer_value=theirs, ratio=theirs / ours)


def _precision(scenes: datasets.Scenes, num_units: int) -> Record:
    maps_fn, (images, labels, categories) = _layer(num_units, 4), map(np.asarray, scenes)
    dissection.average_precision(maps_fn, images[:8], labels[:8], categories)
    start = time.perf_counter()
    dissection.average_precision(maps_fn, images, labels, categories)
    seconds = time.perf_counter() - start
    return record("average_precision_seconds", seconds, f"s; {len(images)} images, {num_units} units, 30 concepts")


def _first(scenes: datasets.Scenes, count: int) -> datasets.Scenes:
    return scenes._replace(images=scenes.images[:count], labels=scenes.labels[:count])


def run(*, quick: bool) -> list[Record]:
    """All records of this part."""
    num_images, num_units = (256, 64) if quick else (NUM_IMAGES, NUM_UNITS)
    scenes = datasets.scenes(jax.random.key(1), num_images)
    maps_fn = _layer(num_units, 4)
    records = _whole(scenes, maps_fn, 32, "dissection")
    if not quick:
        records += _whole(_first(scenes, NUM_FULL), _layer(num_units, 1), 8, "dissection_full_maps")
    few, width = (32, 16) if quick else (512, 64)
    return [*records, _against_numpy(_first(scenes, few), maps_fn, 32), _precision(_first(scenes, few), width)]
