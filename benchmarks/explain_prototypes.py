"""Prototypes and criticisms: MMD-critic at the size of MNIST, and beside NumPy on 5,000 points.

The large run is a program of its own, ``python -m benchmarks.explain_prototypes POINTS PROTOTYPES``, which says how
much memory it had at most, its data, JAX and compilation included.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.timing import medians, record
from jaxrg.explain import prototypes

NUM_FEATURES, NUM_CLUSTERS, GAMMA = 784, 50, 0.01

Record = dict[str, Any]


def clusters(num_points: int) -> np.ndarray:
    """Points around random centres, with as many features as MNIST has pixels."""
    random = np.random.default_rng(0)
    centres = random.uniform(0, 0.6, (NUM_CLUSTERS, NUM_FEATURES)).astype(np.float32)
    points = random.standard_normal((num_points, NUM_FEATURES), np.float32)
    points *= np.float32(0.2)
    points += centres[random.integers(0, NUM_CLUSTERS, num_points)]
    return points


def ours(points: Any, count: int) -> prototypes.Prototypes:
    embedding = prototypes.mean_embedding(points, prototypes.rbf(GAMMA))
    return jax.block_until_ready(prototypes.mmd_critic(embedding, count))


def gaussian(points: np.ndarray) -> np.ndarray:
    """The whole matrix by one product."""
    lengths = (points**2).sum(1)
    matrix = points @ points.T
    matrix *= -2
    matrix += lengths[:, None] + lengths[None]
    np.maximum(matrix, 0, out=matrix)
    matrix *= -GAMMA
    return np.exp(matrix, out=matrix)


def numpy_as_published(points: np.ndarray, count: int) -> np.ndarray:
    """The algorithm as its authors run it: the whole matrix, and sums over all prototypes anew in every step."""
    matrix = gaussian(points)
    means, diagonal = 2 * matrix.mean(0), matrix.diagonal()
    chosen = np.empty(0, int)
    for size in range(1, count + 1):
        candidates = np.setdiff1d(np.arange(len(points)), chosen)
        between = 2 * matrix[chosen, :][:, candidates].sum(0) + diagonal[candidates]
        chosen = np.append(chosen, candidates[np.argmax(means[candidates] - between / size)])
    return chosen


def numpy_with_running_sums(points: np.ndarray, count: int) -> np.ndarray:
    """The whole matrix, and one row of it added in every step: the fastest NumPy, where the matrix fits."""
    matrix = gaussian(points)
    means, between = matrix.mean(0), 0.5 * matrix.diagonal()
    chosen = np.empty(count, int)
    is_free = np.ones(len(points), bool)
    for place in range(count):
        score = means - between / (place + 1)
        chosen[place] = index = np.argmax(np.where(is_free, score, -np.inf))
        is_free[index] = False
        between += matrix[index]
    return chosen


def mmd_squared(points: np.ndarray, chosen: Any) -> float:
    """By its definition, in double precision."""
    matrix, indices = gaussian(points.astype(np.float64)), np.asarray(chosen)
    return float(matrix.mean() - 2 * matrix.mean(0)[indices].mean() + matrix[np.ix_(indices, indices)].mean())


def _most_resident() -> int:
    """Bytes this program had at most; what ``getrusage`` says begins with the program that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _large(num_points: int, count: int) -> dict[str, float]:
    """Seconds and bytes of one run, first call and compilation included."""
    start, processor = time.perf_counter(), time.process_time()
    points = jax.device_put(clusters(num_points))
    made, made_processor = time.perf_counter(), time.process_time()
    found = ours(points, count)
    end, end_processor = time.perf_counter(), time.process_time()
    return {
        "seconds": end - made,
        "processor_seconds": end_processor - made_processor,
        "data_seconds": made - start,
        "data_processor_seconds": made_processor - processor,
        "peak_bytes": _most_resident(),
        "mmd_squared": float(found.mmd_squared[-1]),
    }


def run(*, quick: bool) -> list[Record]:
    """All records of this part."""
    num_points, count = (3_000, 30) if quick else (60_000, 1_000)
    module = [sys.executable, "-m", "benchmarks.explain_prototypes", str(num_points), str(count)]
    measured = json.loads(subprocess.run(module, check=True, capture_output=True, text=True).stdout)
    size = f"{num_points:,} x {NUM_FEATURES}, {count:,} prototypes"
    records = [
        record("mmd_critic_seconds", measured["seconds"], f"s, {size}"),
        record("mmd_critic_processor_seconds", measured["processor_seconds"], f"s of all cores, {size}"),
        record("mmd_critic_peak_bytes", measured["peak_bytes"], f"bytes of the process, {size}"),
    ]
    num_points, count, repeats = (1_000, 50, 1) if quick else (5_000, 1_000, 3)
    points = clusters(num_points)
    on_device = jax.device_put(points)
    peers: dict[str, Callable] = {"as published": numpy_as_published, "running sums": numpy_with_running_sums}
    contestants: dict[str, Callable[[], Any]] = {
        name: lambda peer=peer: peer(points, count) for name, peer in peers.items()
    }
    seconds = medians(contestants | {"ours": lambda: ours(on_device, count)}, repeats=repeats)
    size = f"{num_points:,} x {NUM_FEATURES}, {count:,} prototypes"
    for name, peer in (("mmd_critic_vs_numpy", "as published"), ("mmd_critic_vs_numpy_running_sums", "running sums")):
        unit, ratio = f"s, {size}", seconds[peer] / seconds["ours"]
        records.append(
            record(name, seconds["ours"], unit, peer=f"numpy, {peer}", peer_value=seconds[peer], ratio=ratio)
        )
    own, theirs = (
        mmd_squared(points, chosen) for chosen in (ours(on_device, count).indices, peers["as published"](points, count))
    )
    records.append(
        record(
            "mmd_critic_mmd_squared",
            own,
            "MMD², float64",
            peer="numpy, as published",
            peer_value=theirs,
            ratio=theirs / own,
        )
    )
    return records


if __name__ == "__main__":
    print(json.dumps(_large(int(sys.argv[1]), int(sys.argv[2]))))
