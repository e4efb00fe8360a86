"""``jaxrg sample``: every temperature into a store of its own, and means with errors of all."""

import argparse
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from rich.console import Console

from jaxrg import samplers, stats
from jaxrg.cli.streams import Stream, say
from jaxrg.demo.text import Table, value_with_error
from jaxrg.progress import bar, terminal
from jaxrg.store import FolderError, RunFolder, SampleStore
from jaxrg.store.run_folder import RUN_FILE

LEAST = 256  # samples before the first look at an error; then at every 1.5 times as many
HEADER = ("T", "seed", "samples", "quantity", "value", "tau_int")


def _width(console: Console) -> int | None:
    return console.width if console.is_terminal else None


def _chosen(chosen: argparse.Namespace) -> list[Stream]:
    is_packed = chosen.sampler.startswith("multispin")
    settings = {
        "model": chosen.model,
        "size": list(chosen.size),
        "sampler": chosen.sampler,
        "num_chains": chosen.num_chains or (32 if is_packed else 1),
        "thin": chosen.thin,
        "burn_in": chosen.burn_in,
    }
    return [Stream(settings, temperature, chosen.seed) for temperature in sorted(set(chosen.temperatures))]


def sample(chosen: argparse.Namespace) -> bool:
    """Sample every temperature, and say what came out."""
    console, streams = terminal(), _chosen(chosen)
    try:
        _ = streams[0].sampler
    except ValueError as error:  # as of a multispin sampler on triangles
        raise FolderError(str(error)) from None
    root = RunFolder(chosen.out, streams[0].settings, name="--out")
    if chosen.dry_run:
        return _foresee(console, root.folder, streams, chosen.num_samples)
    root.claim()
    rows = []
    for number, stream in enumerate(streams):
        label = f"T = {stream.temperature:g}" + (f" ({number + 1} of {len(streams)})" if len(streams) > 1 else "")
        rows += _rows(stream, _sampled(console, label, root.folder / stream.name, stream, chosen))
    say(console, *Table(f"Samples in {root.folder}", HEADER, rows, num_shared=3).lines(_width(console)))
    if any("?" in cell for row in rows for cell in row):
        say(console, "A question mark: the error cannot be trusted yet; more samples would tell.")
    return True


def _sampled(console: Console, label: str, folder: Path, stream: Stream, chosen: argparse.Namespace) -> SampleStore:
    """The store with all samples that were asked for, or as many as the error wants."""
    # Where there are samples, their start is there too.
    store = SampleStore(folder) if (folder / RUN_FILE).exists() else None
    found = store.num_samples if store else 0
    arguments = stream.arguments(store.state(0) if store and store.records else None)
    with bar(label, console) as report:
        report(found, chosen.num_samples, "")

        def sampled(total: int) -> SampleStore:
            return samplers.sample(
                folder,
                num_samples=total,
                progress=lambda done, _, text: report(done, chosen.num_samples, text),
                **arguments,
            )

        if chosen.until is None:
            return sampled(chosen.num_samples)
        # Looks at fixed numbers of samples, so that one that was interrupted ends as one that was not.
        looks = [LEAST]
        while looks[-1] < chosen.num_samples:
            looks.append(looks[-1] * 3 // 2)
        for look in looks:
            if look < found and look < chosen.num_samples:
                continue
            store = sampled(min(look, chosen.num_samples))
            energy = stats.summary(store.observe(stream.model.observables).energy)
            if bool(energy.is_converged) and float(energy.error) < chosen.until:
                break
        assert store is not None
        return store


def _rows(stream: Stream, store: SampleStore) -> list[tuple[str, ...]]:
    """Energy, |m| and m² with their errors."""
    seen = store.observe(stream.model.observables)
    traces = {
        "energy": np.asarray(seen.energy),
        "|m|": np.abs(np.asarray(seen.magnetization)),
        "m²": np.square(np.asarray(seen.magnetization)),
    }
    shared = (f"{stream.temperature:g}", str(stream.seed), f"{store.layout.num_chains} x {store.num_samples}")
    if store.num_samples < 4:
        return [(*shared, name, f"{trace.mean():.6g}?", "") for name, trace in traces.items()]
    found = stats.summary({name: jnp.asarray(trace) for name, trace in traces.items()})
    return [
        (
            *shared,
            name,
            value_with_error(float(one.mean), float(one.error)) + ("" if bool(one.is_converged) else "?"),
            value_with_error(float(one.tau_int), float(one.tau_int_error)),
        )
        for name, one in ((name, found[name]) for name in traces)
    ]


def _foresee(console: Console, folder: Path, streams: list[Stream], num_samples: int) -> bool:
    """What `sample` would do."""
    rows, num_bytes = [], 0
    for stream in streams:
        place = folder / stream.name
        there = SampleStore(place).num_samples if place.exists() else 0
        sites = int(np.prod(stream.settings["size"]))
        each = 4 * -(-sites // 32) * stream.settings["num_chains"]
        num_new = max(0, num_samples - there)
        num_bytes += num_new * each
        rows.append((f"{stream.temperature:g}", str(stream.seed), str(there), str(num_new), f"{num_new * each:,}"))
    header = ("T", "seed", "samples there", "samples to come", "bytes")
    say(console, *Table(f"Would sample into {folder}", header, rows).lines(_width(console)))
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    room = shutil.disk_usage(parent).free
    say(console, f"{num_bytes:,} bytes of samples in all, {room:,} are free. Nothing was written.")
    return num_bytes < room
