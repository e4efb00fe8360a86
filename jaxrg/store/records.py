"""Commit records: what a sample store holds, each chained to the one before it, and what is damaged of it."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxrg.store.files import DamagedError, digest_of_file
from jaxrg.store.run_folder import RUN_FILE

COMMITS, SAMPLES, STATES = "commits", "samples", "states"
MARK_FILE = f"{SAMPLES}/zarr.json"


class Record(NamedTuple):
    """One commit: the samples it added, the state after them, and every file of both."""

    number: int
    previous: str  # SHA-256 of the record before it, of run.json for the first
    samples: tuple[int, int]  # [start, stop)
    step: int  # steps taken by the state
    files: dict[str, tuple[int, str]]  # path below the folder: number of bytes and SHA-256
    environment: dict[str, str]  # releases and device that made it

    @property
    def path(self) -> str:
        """Below the folder of the store."""
        return f"{COMMITS}/{self.number:08d}.json"

    def as_bytes(self) -> bytes:
        """The file: the same record gives the same bytes, and no changed bit of them goes unnoticed."""
        return _checked(self._asdict())

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return _sha256(self.as_bytes())


class Damage(NamedTuple):
    """A file that is not what was written."""

    path: str  # below the folder of the store
    found: str  # what is there instead, in words

    def __str__(self) -> str:
        return f"{self.path} ({self.found})"


def damaged_error(folder: Path, damages: list[Damage]) -> DamagedError:
    """An error that names the first files that are damaged."""
    shown = ", ".join(map(str, damages[:3])) + (f" and {len(damages) - 3} more" if len(damages) > 3 else "")
    return DamagedError(f"folder: expected the files that were written to {folder}, got damaged ones: {shown}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _end(text: bytes) -> bytes:
    """What follows a JSON object, less its last brace, in a file."""
    return b', "check": "' + _sha256(text).encode() + b'"}'


def _checked(content: dict[str, Any]) -> bytes:
    """JSON that ends in the SHA-256 of all before."""
    text = json.dumps(content).encode()
    return text[:-1] + _end(text)


def _unchecked(content: bytes) -> dict[str, Any] | None:
    """What `_checked` was given, or None of other bytes."""
    length = len(_end(b""))
    text = content[:-length] + b"}"
    return json.loads(text) if content[-length:] == _end(text) else None


def _record_of(content: bytes) -> Record | None:
    """The record, or None of bytes that are none."""
    fields = _unchecked(content)
    if fields is None:
        return None
    files = {path: (length, digest) for path, (length, digest) in fields["files"].items()}
    return Record(**fields | {"samples": tuple(fields["samples"]), "files": files})


GROUP = b'{"zarr_format": 3, "node_type": "group", "attributes": '


def mark_of(records: list[Record]) -> bytes:
    """The file that says how many commits there are, and makes a Zarr group of all samples.

    It is written after the record itself, so that a last record that is lost is missed.
    """
    newest = records[-1] if records else None
    attributes = {
        "num_commits": len(records),
        "num_samples": newest.samples[1] if newest else 0,
        "newest": newest.digest if newest else "",
    }
    return GROUP + _checked(attributes) + b"}"


def _marked(content: bytes) -> dict[str, Any] | None:
    """What a mark says, or None of bytes that are none."""
    return _unchecked(content[len(GROUP) : -1]) if content.startswith(GROUP) and content.endswith(b"}") else None


class Scan(NamedTuple):
    """The records of a folder; None where one is damaged."""

    records: list[Record | None]
    digests: list[str | None]  # of each record, as far as others tell
    num_samples: list[int | None]  # after each record, as far as others tell
    damages: list[Damage]  # of records, header and mark


def scan(folder: Path) -> Scan:
    """Read all records, and check them, the header and the mark by one another."""
    damages: list[Damage] = []
    mark_content, mark = _read(folder / MARK_FILE), None
    if mark_content is not None and (mark := _marked(mark_content)) is None:
        damages.append(Damage(MARK_FILE, "other bytes"))
    num_marked = mark["num_commits"] if mark else 0
    names = [re.fullmatch(r"(\d{8})\.json", path.name) for path in (folder / COMMITS).glob("*.json")]
    length = max([int(name.group(1)) + 1 for name in names if name] + [num_marked])
    if mark and _read(folder / MARK_FILE) != mark_content:
        length = num_marked  # another process writes; what it has added since is left for the next time
    contents = [_read(folder / f"{COMMITS}/{number:08d}.json") for number in range(length)]
    records = [None if content is None else _record_of(content) for content in contents]
    found = zip(records, contents, strict=True)
    digests = [None if record is None or content is None else _sha256(content) for record, content in found]
    ends = [None if record is None else record.samples[1] for record in records]
    # A record that is gone is known by its digest in the one after it, the last one by that in the mark.
    for number, after in enumerate(records[1:]):
        if after is not None:
            if digests[number] not in (None, after.previous):
                records[number] = None
            digests[number], ends[number] = after.previous, after.samples[0]
    if mark and num_marked == length and length:
        if digests[-1] not in (None, mark["newest"]):
            records[-1] = None
        digests[-1], ends[-1] = mark["newest"], mark["num_samples"]
    damages += [
        Damage(f"{COMMITS}/{number:08d}.json", "no file" if contents[number] is None else "other bytes")
        for number, record in enumerate(records)
        if record is None
    ]
    whole = [record for record in records if record is not None]
    if length and mark_content is None:
        damages.append(Damage(MARK_FILE, "no file"))
    elif mark and len(whole) == length and mark_content not in (mark_of(whole), mark_of(whole[:-1])):
        damages.append(Damage(MARK_FILE, "other bytes"))
    return Scan(records, digests, ends, damages + damages_of_description(folder))


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _compared(folder: Path, path: str, length: int | None, digest: str | None) -> Iterator[Damage]:
    place = folder / path
    if not place.is_file():
        yield Damage(path, "no file")
    elif length is not None and place.stat().st_size != length:
        yield Damage(path, f"{place.stat().st_size} bytes in place of {length}")
    elif digest is not None and digest_of_file(place) != digest:
        yield Damage(path, "other bytes")


def damages_of_description(folder: Path) -> list[Damage]:
    """The file ``run.json``, if it is not the one that the first commit names."""
    content = _read(folder / f"{COMMITS}/{0:08d}.json")
    first = None if content is None else _record_of(content)
    return [] if first is None else list(_compared(folder, RUN_FILE, None, first.previous))


def damages_of_files(folder: Path, record: Record, *, is_quick: bool = False) -> list[Damage]:
    """Files of a commit that are not what was written; a quick look sees their lengths alone."""
    wanted = {path: (length, None if is_quick else digest) for path, (length, digest) in record.files.items()}
    return [damage for path, file in wanted.items() for damage in _compared(folder, path, *file)]


def damages(folder: Path) -> list[Damage]:
    """Every file of a sample store that is damaged or lost, by the SHA-256 of all its bytes.

    Example:
        >>> import pathlib, tempfile
        >>> damages(pathlib.Path(tempfile.mkdtemp()))
        []
    """
    found = scan(folder)
    records = [record for record in found.records if record is not None]
    return found.damages + [damage for record in records for damage in damages_of_files(folder, record)]
