"""Information inside networks: the counted plane of fifty repeats of the published training, and NumPy's counting.

The training is that of ``examples/information_plane.py``. Every epoch costs the same, so some are timed, and the figure
is what the published number of them comes to, with the counting at every checkpoint.
"""

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import medians, record
from jaxrg.explain import information

NUM_RUNS, NUM_EPOCHS, NUM_CHECKPOINTS = 50, 8_000, 25

Record = dict[str, Any]


def study(name: str) -> Any:
    """A module of the examples."""
    folder = str(Path(__file__).parent.parent / "examples")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def _plane_seconds(plane: Any, activation: str, num_epochs: int) -> dict[str, float]:
    """What the published run comes to, of the clock and of all cores, and compiling."""
    key, kind = jax.random.key(0), plane.Kind(activation, 32)
    labels = jnp.tile(jnp.asarray(plane.rule())[None], (NUM_RUNS, 1))
    params = plane.init(key, NUM_RUNS, kind)
    state = params, plane.OPTIMIZER.init(params)

    def train(state: Any, start: int, stop: int) -> Any:
        return jax.block_until_ready(plane.train(key, state, labels, np.int32(start), np.int32(stop), kind=kind))

    def look(state: Any) -> None:
        jax.block_until_ready(plane.measure(state[0], labels, kind=kind))

    def clocks() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    begun = clocks()
    state = train(state, 0, 1)
    look(state)
    times = [clocks()]
    state = train(state, 1, 1 + num_epochs)
    times.append(clocks())
    look(state)
    times.append(clocks())
    training, looking = np.diff(times, axis=0)
    seconds, processor_seconds = (NUM_EPOCHS * training / num_epochs + NUM_CHECKPOINTS * looking).tolist()
    compiling = float(times[0][0] - begun[0])
    return {"seconds": seconds, "processor_seconds": processor_seconds, "compile_seconds": compiling}


def _numpy_entropy(rows: np.ndarray) -> float:
    """Of the rows, the way NumPy counts them."""
    counts = np.unique(rows, axis=0, return_counts=True)[1]
    return np.log2(len(rows)) - np.sum(counts * np.log2(counts)) / len(rows)


def run(*, quick: bool) -> list[Record]:
    """All records of this part."""
    plane, records = study("_information_plane"), []
    for activation in (plane.TANH,) if quick else (plane.TANH, plane.RELU):
        num_epochs = 3 if quick else 300
        found = _plane_seconds(plane, activation, num_epochs)
        unit = f"s, {NUM_RUNS} runs of {NUM_EPOCHS} epochs, of which {num_epochs} ran, and {NUM_CHECKPOINTS} looks"
        units = {"seconds": unit, "processor_seconds": f"{unit}, of all cores", "compile_seconds": "s"}
        records += [
            record(f"information_plane_{activation.lower()}_{name}", found[name], units[name]) for name in units
        ]
    rows = jax.nn.relu(jax.random.normal(jax.random.key(1), (5 if quick else NUM_RUNS, 4096, 7)))
    host, count = np.asarray(rows), jax.jit(jax.vmap(information.entropy_bits))
    np.testing.assert_allclose(count(rows), [_numpy_entropy(part) for part in host], atol=1e-5)
    contestants = {
        "jaxrg": lambda: count(rows).block_until_ready(),
        "numpy": lambda: [_numpy_entropy(part) for part in host],
    }
    found = medians(contestants, repeats=5 if quick else 21)
    seconds, peer_seconds = (found[name] / len(rows) for name in contestants)
    peer, unit = "numpy.unique of rows", "s for 4,096 inputs of 7 units"
    ratio = peer_seconds / seconds
    records.append(record("entropy_of_rows_seconds", seconds, unit, peer=peer, peer_value=peer_seconds, ratio=ratio))
    return records
