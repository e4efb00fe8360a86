"""Sample stores: processes killed at any moment, files damaged at any bit, and bytes a second beside NumPy's."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.timing import medians, record
from jaxrg import lattice, models, samplers, store
from jaxrg.samplers.recording import Recording
from jaxrg.store.layout import Layout
from jaxrg.store.records import scan
from jaxrg.store.sample_writer import SampleWriter

NUM_SAMPLES, PER_COMMIT = 60, 3


def chain() -> dict[str, Any]:
    """Two chains of a small model."""
    model = models.Ising(lattice.hypercubic((6, 10)), 0.4)
    return {"key": jax.random.key(5), "sampler": samplers.replicas(samplers.heat_bath(model), 2)}


def sampled(folder: pathlib.Path) -> None:
    """The samples whose writing is disturbed, in twenty commits."""
    samplers.sample(folder, num_samples=NUM_SAMPLES, samples_per_commit=PER_COMMIT, **chain())


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def committed(folder: pathlib.Path) -> list[str]:
    """The files of all commits."""
    records = [record for record in scan(folder).records if record is not None]
    return [path for record in records for path in (record.path, *record.files)]


def _dying(num_operations: int) -> None:
    """Kill this process at an operation on files, half done where it can be."""
    import tensorstore

    left = [num_operations]

    def is_last() -> bool:
        left[0] -= 1
        return left[0] < 0

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def guarded(fn: Callable, half: Callable = die) -> Callable:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if is_last():
                half(*arguments)
                die()
            return fn(*arguments, **keywords)

        return call

    write_bytes, write_samples = pathlib.Path.write_bytes, tensorstore.TensorStore.write
    for name in ("replace", "link", "fsync", "mkdir", "unlink"):
        setattr(os, name, guarded(getattr(os, name)))
    pathlib.Path.write_bytes = guarded(write_bytes, lambda path, all: write_bytes(path, all[: len(all) // 2]))
    setattr(tensorstore.TensorStore, "write", guarded(write_samples, write_samples))  # noqa: B010


def _child(folder: pathlib.Path, ready: int, num_operations: int | None) -> int:
    """Fork a process that samples, and dies by itself at an operation if that is given; its number."""
    process = os.fork()
    if process:
        return process
    try:
        if num_operations is not None:
            _dying(num_operations)
        advance = Recording.advance

        def started(self: Any, *arguments: Any) -> Any:
            result = advance(self, *arguments)
            os.write(ready, b".")
            return result

        Recording.advance = started  # type: ignore[method-assign]
        sampled(folder)
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)


def killed(num_kills: int, folder: pathlib.Path) -> dict[str, int]:
    """Sample again and again in processes that are killed; this one computes nothing, so that it can fork."""
    rng = random.Random(0)
    found = {"kills": 0, "survived": 0, "rounds": 0, "operations": 0}
    whole = folder / "whole"
    read, write = os.pipe()
    os.waitpid(_child(whole, write, None), 0)
    expected = contents(whole)
    while found["kills"] < num_kills:
        place, kills, survived = folder / f"round {found['rounds']}", 0, 0
        while True:
            by_operation = rng.random() < 0.5
            process = _child(place, write, rng.randrange(400) if by_operation else None)
            if not by_operation:
                if rng.random() < 0.9:
                    os.read(read, 1)  # the first samples are computed, or some were before
                time.sleep(rng.random() * 0.25)
                os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            if os.WIFEXITED(status):
                if os.WEXITSTATUS(status):
                    survived = -num_kills
                break
            kills += 1
            found["operations"] += by_operation
            survived += not place.exists() or (
                not store.SampleStore.damages(place)
                and all(expected[path] == (place / path).read_bytes() for path in committed(place))
            )
            if found["kills"] + kills >= num_kills:
                os.waitpid(_child(place, write, None), 0)
                break
        found["rounds"] += 1
        found["kills"] += kills
        found["survived"] += survived if contents(place) == expected else 0
        shutil.rmtree(place)
    return found


def kills(num_kills: int) -> dict[str, Any]:
    """Kills after which what was committed is whole, and the finished store is that of one process, byte for byte."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": f"{folder}/cache",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        command = [sys.executable, "-m", "benchmarks.sample_store", str(num_kills), folder]
        output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = json.loads(output.splitlines()[-1])
    return record(
        "store_kills_survived",
        found["survived"],
        f"of {found['kills']} kills",
        peer="at an operation on files; the rest at any time",
        peer_value=found["operations"],
        ratio=found["survived"] / found["kills"],
    )


def damages(num_damages: int) -> dict[str, Any]:
    """Damages of a random file that are named, and then repaired to the very bytes."""
    rng, detected = random.Random(1), 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name, "store")
        sampled(folder)
        whole = contents(folder)
        whole_chain = chain()
        for number in range(num_damages):
            path = folder / rng.choice(sorted(whole))
            content = bytearray(path.read_bytes())
            if number % 3 == 0:
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                path.write_bytes(content)
            elif number % 3 == 1:
                path.write_bytes(content[: rng.randrange(len(content))])
            else:
                path.unlink()
            named = [damage.path for damage in store.SampleStore.damages(folder)]
            samplers.repair(folder, **whole_chain)
            detected += named == [path.relative_to(folder).as_posix()] and contents(folder) == whole
    return record("store_damages_detected", detected, f"of {num_damages}, repaired", ratio=detected / num_damages)


def rates(quick: bool) -> list[dict[str, Any]]:
    """Spins of 512 x 512 from the memory of the host to the disk and back."""
    layout = Layout(1, (512, 512), "int8", True)
    num_samples, per_commit = 512 if quick else 1024, layout.samples_per_commit
    spins = 2 * np.random.default_rng(0).integers(0, 2, (1, num_samples, 512, 512), np.int8) - 1
    with tempfile.TemporaryDirectory() as name:
        folder, file = pathlib.Path(name, "store"), pathlib.Path(name, "spins.npy")

        def write() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            store.RunFolder(folder, {"values": layout.as_json()}).claim()
            writer = SampleWriter(folder, layout)
            writer.append(None, {}, 0)
            for start in range(0, num_samples, per_commit):
                writer.append(layout.words(spins[:, start : start + per_commit]), {}, start)

        def save() -> None:
            np.save(file, spins)

        def save_and_wait() -> None:
            with file.open("wb") as stream:
                np.save(stream, spins)
                os.fsync(stream.fileno())

        contestants: dict[str, Callable[[], Any]] = {"write": write, "save": save, "synced": save_and_wait}
        times = medians(contestants, repeats=5 if quick else 11)
        times |= medians({"read": lambda: store.SampleStore(folder).read(), "load": lambda: np.load(file)}, repeats=7)
        assert np.array_equal(store.SampleStore(folder).read(), spins)
        share = sum(map(len, contents(folder).values())) / file.stat().st_size
    rate = {what: spins.size * 1e-9 / seconds for what, seconds in times.items()}

    def against(name: str, what: str, peer: str, words: str) -> dict[str, Any]:
        return record(name, rate[what], "spins/ns", peer=words, peer_value=rate[peer], ratio=rate[what] / rate[peer])

    return [
        against("store_write_vs_numpy", "write", "synced", "np.save and fsync"),
        against("store_write_vs_numpy_in_memory", "write", "save", "np.save, on no disk yet"),
        against("store_read_vs_numpy", "read", "load", "np.load"),
        record("store_bytes", share, "of np.save's"),
    ]


def run(*, quick: bool) -> list[dict[str, Any]]:
    """Every record of sample stores."""
    return [kills(20 if quick else 200), damages(40 if quick else 200), *rates(quick)]


if __name__ == "__main__":
    print(json.dumps(killed(int(sys.argv[1]), pathlib.Path(sys.argv[2]))))
