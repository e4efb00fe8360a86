"""Samples of a store computed once more: compared bit for bit, or put in the place of those that are damaged."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax import Array

from jaxrg.base import PyTree, Sampler
from jaxrg.checks import as_count
from jaxrg.samplers.recording import Recording, on_device, recording, step_of
from jaxrg.store import Damage, DamagedError, SampleStore, as_folder, write_atomically
from jaxrg.store.files import as_json, digest_of_file, json_text, sync
from jaxrg.store.records import MARK_FILE, SAMPLES, STATES, Record, Scan, damages_of_files, mark_of, scan
from jaxrg.store.run_folder import RUN_FILE, FolderError, run_content
from jaxrg.store.sample_writer import SampleWriter, disk_errors, locked, write_commit
from jaxrg.store.states import as_bytes, from_bytes

SCRATCH = ".repair"  # below the folder, where a replay is written before it is compared


def verify(
    folder: str | os.PathLike,
    key: Array,
    sampler: Sampler,
    *,
    commits: Sequence[int] | None = None,
    state: PyTree | None = None,
    is_spins: bool | None = None,
    notes: dict[str, Any] | None = None,
) -> list[Damage]:
    """Compare a store with its bytes as they were written, and with a replay of some commits.

    The samples of a commit are computed once more from the state before it, and compared bit for bit, and so is the
    state after them. A difference under whole files means that they were made by another program or device.

    Args:
        folder: as for `sample`, like the other arguments.
        commits: numbers of those to replay, 0 being the start; all by default.

    Returns:
        Every file that is damaged, lost, or not what a replay gives; an empty list if there is none.

    Raises:
        ValueError: arguments as for `sample`, or the number of a commit that is none.
        FolderError: the folder holds another chain, or no store.

    Example:
        >>> import tempfile
        >>> from jaxrg import lattice, models, samplers
        >>> sampler, key = samplers.wolff(models.Ising(lattice.hypercubic((8, 8)), 0.44)), jax.random.key(0)
        >>> place = tempfile.mkdtemp()
        >>> store = samplers.sample(place, key, sampler, 20)
        >>> samplers.verify(place, key, sampler)
        []
    """
    chain = recording(key, sampler, state, is_spins, notes)
    place = as_folder("folder", folder)
    found, damages = scan(place), SampleStore.damages(place)
    _check_is_store(place, found)
    numbers = range(len(found.records)) if commits is None else [as_count("commits", n, minimum=0) for n in commits]
    if wrong := [number for number in numbers if number >= len(found.records)]:
        raise ValueError(f"commits: expected numbers below {len(found.records)}, got {wrong[0]}")
    if not any(damage.path == RUN_FILE for damage in damages):
        chain.folder(place)
    for number in numbers:
        record, before = found.records[number], found.records[number - 1] if number else None
        if record is None or (number and before is None) or damages_of_files(place, record):
            continue
        if before is not None and any(damage.path == _state_path(number - 1) for damage in damages):
            continue
        start = chain.start if before is None else _state(place, number - 1)
        after, values = _replayed(chain, start, record.samples[1] - record.samples[0])
        if values is not None and not _same(values, _stored(chain, place, record)):
            damages.append(Damage(f"{SAMPLES}/{number:08d}", "other samples than a replay gives"))
        if as_bytes(after) != (place / _state_path(number)).read_bytes():
            damages.append(Damage(_state_path(number), "another state than a replay gives"))
    return damages


def repair(
    folder: str | os.PathLike,
    key: Array,
    sampler: Sampler,
    *,
    state: PyTree | None = None,
    is_spins: bool | None = None,
    notes: dict[str, Any] | None = None,
) -> list[Damage]:
    """Put every file of a store that is damaged or lost back to its very bytes, by a replay.

    A commit is computed once more from the state before it, in a place of its own, and only files whose SHA-256 is the
    one on record replace damaged ones. Where nothing is damaged, nothing is computed.

    Args:
        folder: as for `sample`, like the other arguments.

    Returns:
        What was damaged.

    Raises:
        ValueError: arguments as for `sample`.
        DamagedError: a replay gives other bytes than were written, as another release may; nothing is replaced by them.
        FolderError: the folder holds another chain, no store, or is being written to by another process.
        OSError: the disk is full.

    Example:
        >>> import pathlib, tempfile
        >>> from jaxrg import lattice, models, samplers
        >>> sampler, key = samplers.wolff(models.Ising(lattice.hypercubic((8, 8)), 0.44)), jax.random.key(0)
        >>> place = pathlib.Path(tempfile.mkdtemp())
        >>> store = samplers.sample(place, key, sampler, 20)
        >>> (place / "states" / "00000000.npz").unlink()
        >>> [str(damage) for damage in samplers.repair(place, key, sampler)]
        ['states/00000000.npz (no file)']
        >>> samplers.verify(place, key, sampler)
        []
    """
    chain = recording(key, sampler, state, is_spins, notes)
    place = as_folder("folder", folder)
    found = scan(place)
    _check_is_store(place, found)
    with locked(place), disk_errors("repair", place):
        damages = SampleStore.damages(place)
        damaged = {damage.path for damage in damages}
        if found.records[0] is None:  # which would say what the description was
            _repair_commit(chain, place, 0, found)
        elif RUN_FILE in damaged:
            _repair_description(chain, place, found.records[0].previous)
        chain.folder(place)
        for number, record in enumerate(found.records):
            if record is None or damaged & set(record.files):
                _repair_commit(chain, place, number, scan(place))
        records = [record for record in scan(place).records if record is not None]
        write_atomically(place / MARK_FILE, lambda partial: partial.write_bytes(mark_of(records)))
        SampleWriter(place, chain.layout)
    return damages


def _check_is_store(place: Path, found: Scan) -> None:
    if not found.records:
        raise FolderError(f"folder: expected a sample store, got {place} without a commit")


def _state_path(number: int) -> str:
    return f"{STATES}/{number:08d}.npz"


def _state(place: Path, number: int) -> PyTree:
    path = place / _state_path(number)
    return on_device(from_bytes(path.read_bytes(), source=path))


def _stored(chain: Recording, place: Path, record: Record) -> np.ndarray:
    folder = place / SAMPLES / f"{record.number:08d}"
    return chain.layout.opened(folder, record.samples[1] - record.samples[0]).read().result()


def _same(values: np.ndarray, others: np.ndarray) -> bool:
    return values.shape == others.shape and values.tobytes() == others.tobytes()  # NaN is NaN, and -0 is not 0


def _replayed(chain: Recording, state: PyTree, num_samples: int) -> tuple[PyTree, np.ndarray | None]:
    """The state after some samples, and the samples; of the start, which has none, the state itself."""
    return chain.advance(state, num_samples) if num_samples else (state, None)


def _length_on_disk(place: Path, number: int) -> int:
    """Samples of a commit whose record is lost."""
    if number == 0:
        return 0
    try:
        return json.loads((place / SAMPLES / f"{number:08d}" / "zarr.json").read_text())["shape"][1]
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        raise DamagedError(
            f"folder: expected one of three files that say how many samples commit {number} of {place} has, got all "
            "damaged: its record, the next one and its zarr.json"
        ) from None


def _description(chain: Recording) -> bytes:
    """The file ``run.json``, as this release writes it."""
    return json_text(run_content(as_json(chain.description), chain.programs)).encode()


def _repair_description(chain: Recording, place: Path, digest: str) -> None:
    content = _description(chain)
    if hashlib.sha256(content).hexdigest() != digest:
        raise DamagedError(
            f"folder: expected the chain that {place} was written for, by the same releases of JAX and Python, got "
            f"another; its {RUN_FILE} is damaged and stays so"
        )
    write_atomically(place / RUN_FILE, lambda partial: partial.write_bytes(content))


def _repair_commit(chain: Recording, place: Path, number: int, found: Scan) -> None:
    record, before = found.records[number], found.records[number - 1] if number else None
    start = before.samples[1] if before else 0
    stop = record.samples[1] if record else found.num_samples[number]
    if stop is None:  # the next record is lost too; it tells in its turn whether this was right
        stop = start + _length_on_disk(place, number)
    after, values = _replayed(chain, _state(place, number - 1) if number else chain.start, stop - start)
    # What the first record has before it may be damaged too: then it is what this release would write.
    files = [digest_of_file(place / RUN_FILE)] if (place / RUN_FILE).is_file() else []
    before_it = [before.digest] if before else [*files, hashlib.sha256(_description(chain)).hexdigest()]
    scratch = place / SCRATCH
    new = write_commit(scratch, chain.layout, number, before_it[0], start, values, after, step_of(after))
    if record is None:
        # The record says who made it; who made its neighbours has most likely made it too.
        makers = [new.environment] + [other.environment for other in found.records if other is not None]
        candidates = [new._replace(environment=maker, previous=one) for one in before_it for maker in makers]
        matching = [one for one in candidates if found.digests[number] in (None, one.digest)]
        record = matching[0] if matching else None
    if record is None or record.files != new.files:
        shutil.rmtree(scratch)
        raise DamagedError(
            f"folder: expected a replay of commit {number} to give what was written to {place}, got other bytes, as "
            "another release of JAX or another device may give; nothing was replaced"
        )
    if number == 0 and files != [record.previous]:
        _repair_description(chain, place, record.previous)
    for path, _ in damages_of_files(place, record):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(scratch / path, place / path)
        sync((place / path).parent)
    content = record.as_bytes()
    (place / record.path).parent.mkdir(exist_ok=True)
    write_atomically(place / record.path, lambda partial: partial.write_bytes(content))
    shutil.rmtree(scratch)
