"""``jaxrg verify`` and ``merge``: what is in folders of samples, compared with what was written there."""

import argparse
import json
import random
import shutil
from pathlib import Path

from jaxrg import samplers
from jaxrg.cli.streams import say, settings_of, stream_folders, stream_of
from jaxrg.progress import terminal
from jaxrg.store import FolderError, RunFolder, SampleStore, write_json
from jaxrg.store.files import sync
from jaxrg.store.run_folder import RUN_FILE, run_content


def verify(chosen: argparse.Namespace) -> bool:
    """Check all bytes, replay some commits, and repair what is damaged if that is asked for."""
    console = terminal()
    settings, damages = settings_of(chosen.folder)
    is_whole = chosen.repair or not damages
    say(console, *map(str, damages))
    for place in stream_folders(chosen.folder):
        arguments = stream_of(place, settings).arguments()
        if chosen.repair:
            repaired = samplers.repair(place, **arguments)
            say(console, *(f"{place.name}/{damage}: repaired" for damage in repaired))
        commits = sorted(path.stem for path in (place / "commits").glob("*.json"))
        drawn = sorted(random.SystemRandom().sample(range(len(commits)), min(chosen.num_commits, len(commits))))
        found = samplers.verify(place, commits=drawn, **arguments)
        is_whole &= not found
        say(console, *(f"{place.name}/{damage}" for damage in found))
        words = "differs" if found else "whole"
        say(console, f"{place.name}: {words}; replayed commits {', '.join(map(str, drawn))}")
    if damages and chosen.repair:
        write_json(chosen.folder / RUN_FILE, run_content(settings, {}))
        say(console, f"{RUN_FILE}: repaired")
    return is_whole


def merge(chosen: argparse.Namespace) -> bool:
    """Copy all streams of several folders into one, after they are checked."""
    console = terminal()
    sources: dict[str, Path] = {}
    keys: dict[str, Path] = {}
    root = None
    for folder in chosen.folders:
        settings, damages = settings_of(folder)
        places = list(stream_folders(folder))
        for place in places:
            damages += SampleStore.damages(place)
        if damages:
            raise ValueError(f"folders: expected whole ones, got {folder} with {damages[0]}; see jaxrg verify --repair")
        root = RunFolder(chosen.out, settings, name="folders") if root is None else root
        if root.description != settings:
            name = next(name for name in settings if root.description.get(name) != settings[name])
            raise FolderError(
                f"folders: expected one physics, with {name} {root.description.get(name)!r}, got {settings[name]!r} in "
                f"{folder}; nothing was written"
            )
        for place in places:
            key = json.dumps(SampleStore(place).description["key"])
            if key in keys:
                raise FolderError(
                    f"folders: expected streams with random numbers of their own, got {keys[key]} and {place} with the "
                    "same; nothing was written"
                )
            keys[key] = sources[place.name] = place
    assert root is not None
    for name, place in sources.items():
        target = root.folder / name
        if target.exists() and not _is_same(place, target):
            raise FolderError(f"--out: expected no other samples of {name}, got some in {root.folder}")
    root.claim()
    for name, place in sources.items():
        target, partial = root.folder / name, root.folder / f".{name}.partial"
        if not target.exists():
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(place, partial)
            for path in partial.rglob("*"):
                sync(path)
            partial.rename(target)
            sync(root.folder)
    say(console, f"{len(sources)} streams of {len(chosen.folders)} folders are in {root.folder}.")
    return True


def _is_same(one: Path, other: Path) -> bool:
    return SampleStore(one).records == SampleStore(other).records
