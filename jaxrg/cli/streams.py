"""Streams: sample stores of one model at one temperature and seed each, side by side in a folder."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from jaxrg import lattice, models, samplers
from jaxrg.base import PyTree, Sampler
from jaxrg.samplers.recording import START
from jaxrg.store import Damage, FolderError
from jaxrg.store.files import json_text
from jaxrg.store.records import damages_of_description
from jaxrg.store.run_folder import RUN_FILE


class Stream(NamedTuple):
    """A chain, or several side by side, at one temperature: what its folder holds is a function of this alone."""

    settings: dict[str, Any]  # what all streams of a folder share
    temperature: float
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"T={self.temperature:.9g},seed={self.seed}"

    @property
    def notes(self) -> dict[str, Any]:
        """By which the stream can be made again."""
        return self.settings | {"temperature": self.temperature, "seed": self.seed}

    @classmethod
    def of_notes(cls, notes: dict[str, Any]) -> "Stream":
        """The stream that was made with these notes."""
        settings = {name: value for name, value in notes.items() if name not in ("temperature", "seed")}
        return cls(settings, notes["temperature"], notes["seed"])

    @property
    def coupling(self) -> Any:
        """1/T."""
        return np.float32(1 / self.temperature)

    @property
    def key(self) -> jax.Array:
        """Of its own: another temperature shares no random number with it, whatever else is sampled."""
        return jax.random.fold_in(jax.random.key(self.seed), self.coupling.view(np.uint32))

    @property
    def model(self) -> Any:
        """With periodic boundaries."""
        sides = tuple(self.settings["size"])
        if self.settings["model"] == "glass":
            # One glass for all seeds: they are chains of the same physics.
            return models.plus_minus_glass(jax.random.key(0), lattice.hypercubic(sides), self.coupling)
        make = lattice.triangular if self.settings["model"] == "triangular" else lattice.hypercubic
        return models.Ising(make(sides), self.coupling)

    @property
    def sampler(self) -> Sampler:
        """Of all chains, a step a sample."""
        name, num_chains = self.settings["sampler"], self.settings["num_chains"]
        if name.startswith("multispin"):
            sampler = getattr(samplers, name)(self.model, num_chains=num_chains)
        else:
            one = getattr(samplers, name)(self.model)
            sampler = one if num_chains == 1 else samplers.replicas(one, num_chains)
        return samplers.thin(sampler, self.settings["thin"])

    def start(self, sampler: Sampler) -> PyTree:
        """After the steps that are not stored."""
        state = sampler.init(jax.random.fold_in(self.key, START))
        num_steps = -(-self.settings["burn_in"] // self.settings["thin"])
        return samplers.warm_up(self.key, sampler, state, num_steps)

    def arguments(self, state: PyTree | None = None) -> dict[str, Any]:
        """Of `samplers.sample`, `verify` and `repair`, but for the folder; the start is computed unless it is given."""
        sampler = self.sampler
        start = self.start(sampler) if state is None else state
        return {"key": self.key, "sampler": sampler, "state": start, "notes": self.notes}


def say(console: Console, *lines: str) -> None:
    """Print lines as they are: no markup, no colours, and no breaks but the terminal's own."""
    for line in lines:
        console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def stream_folders(folder: Path) -> list[Path]:
    """Folders of the streams in a folder."""
    return sorted(path for path in folder.glob("T=*,seed=*") if path.is_dir())


def stream_of(place: Path, settings: dict[str, Any]) -> Stream:
    """The stream of a folder, by its name: its own description may be damaged."""
    temperature, _, seed = place.name.removeprefix("T=").partition(",seed=")
    try:
        return Stream.of_notes(_described(place)["notes"])
    except (OSError, ValueError, TypeError, KeyError):
        return Stream(settings, float(temperature), int(seed))


def _described(place: Path) -> dict[str, Any]:
    if damages_of_description(place):
        raise ValueError("damaged")
    return json.loads((place / RUN_FILE).read_text())["run"]


def settings_of(folder: Path) -> tuple[dict[str, Any], list[Damage]]:
    """What the streams of a folder share, and its ``run.json`` if that does not say the same.

    Raises:
        FolderError: neither the folder nor a stream says it.
    """
    found = []
    for place in stream_folders(folder):
        try:
            found.append(Stream.of_notes(_described(place)["notes"]).settings)
        except (OSError, ValueError, TypeError, KeyError):
            continue
    marker = folder / RUN_FILE
    try:
        content = json.loads(marker.read_text())
        found.append(dict(content["run"]))
        is_whole = content["run"] == found[0] and json_text(content).encode() == marker.read_bytes()
    except (OSError, ValueError, TypeError, KeyError):
        is_whole = False
    if not found:
        raise FolderError(f"folder: expected one that jaxrg sample has made, got {folder}")
    words = "other bytes" if marker.is_file() else "no file"
    return found[0], [] if is_whole else [Damage(RUN_FILE, words)]
