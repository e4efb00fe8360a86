"""The seven chapters in order, with progress, results that survive an interruption, and one page at the end."""

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

import jaxrg
from jaxrg.base import Progress
from jaxrg.demo import (
    backwards,
    backwards_report,
    block_spins,
    block_spins_report,
    digits,
    exact_map,
    exact_map_report,
    network_report,
    page,
    readable,
    readable_report,
    stack,
    stack_report,
    thermodynamics,
    thermodynamics_report,
)
from jaxrg.demo.text import listed, paragraph
from jaxrg.demo.workspace import RESULTS, Workspace
from jaxrg.progress import bar, terminal
from jaxrg.store import write_json


class Part(NamedTuple):
    """A chapter: what computes it, and the module that shows it by ``tables``, ``verdicts`` and ``section``."""

    name: str
    label: str
    compute: Callable[[Progress], dict[str, Any]]
    report: ModuleType


def _parts(workspace: Workspace, seed: int, is_smoke: bool) -> list[Part]:
    names = ("scan", "map", "samples", "stack", "blocks", "digits", "backwards", "readable")
    keys = dict(zip(names, jax.random.split(jax.random.key(seed), len(names)), strict=True))

    @functools.cache
    def samples() -> np.ndarray:
        return workspace.array("samples", lambda: stack.sample(keys["samples"], is_smoke=is_smoke))

    size = {"is_smoke": is_smoke}
    folder = workspace.folder / "checkpoints"
    return [
        Part(
            "thermodynamics",
            "1/7 sampling across temperatures",
            lambda progress: thermodynamics.chapter(keys["scan"], progress=progress, **size),
            thermodynamics_report,
        ),
        Part(
            "exact_map",
            "2/7 training by exact gradients",
            lambda progress: exact_map.chapter(keys["map"], progress=progress, **size),
            exact_map_report,
        ),
        Part(
            "stack",
            "3/7 the stack and its control",
            lambda progress: stack.chapter(keys["stack"], samples(), folder, progress=progress, **size),
            stack_report,
        ),
        Part(
            "block_spins",
            "4/7 block spins",
            lambda progress: block_spins.chapter(keys["blocks"], samples(), stack.COUPLING, progress=progress),
            block_spins_report,
        ),
        Part(
            "interactions",
            "5/7 a classifier's interactions",
            lambda progress: digits.chapter(keys["digits"], progress=progress, **size),
            network_report,
        ),
        Part(
            "backwards",
            "6/7 renormalisation run backwards",
            lambda progress: backwards.chapter(keys["backwards"], folder / "backwards", progress=progress, **size),
            backwards_report,
        ),
        Part(
            "readable",
            "7/7 what can be read along a stack",
            lambda progress: readable.chapter(keys["readable"], folder / "readable", progress=progress, **size),
            readable_report,
        ),
    ]


def _say(console: Console, *lines: str) -> None:
    """Print lines as they are: no markup, no colours, and no breaks but the terminal's own."""
    console.print("\n".join(lines), markup=False, highlight=False, emoji=False, soft_wrap=True)


def _width(console: Console) -> int | None:
    """Of a terminal, or as the environment says; a file or a pipe takes lines of any length."""
    return console.width if console.is_terminal or "COLUMNS" in console._environ else None


def _intro(workspace: Workspace, seed: int, is_smoke: bool) -> str:
    """How the page was made, how long that took, where and when."""
    seconds = sum(made["seconds"] for made in workspace.made.values())
    places = listed(list(dict.fromkeys(made["where"] for made in workspace.made.values())))
    last = max(made["when"] for made in workspace.made.values())
    changed = (
        f"<p><b class='no'>Not as they were computed:</b> the files of the chapters {listed(workspace.changed)} "
        "have been changed since they were written.</p>"
        if workspace.changed
        else ""
    )
    took = f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds >= 60 else f"{seconds:.0f} s"
    return (
        f"<p>Made by <code>jaxrg demo --seed {seed}{' --smoke' if is_smoke else ''}</code>, jaxrg {jaxrg.__version__}. "
        f"The chapters took {took} on {places}, and were finished on {last}. All numbers are in "
        f"<a href='{RESULTS}'>{RESULTS}</a>.</p>{changed}"
    )


def run_demo(out: Path, *, seed: int = 0, is_smoke: bool = False, console: Console | None = None) -> dict[str, Any]:
    """Run every chapter that is not finished in ``out``, then write ``results.json``, the figures and ``index.html``.

    Args:
        out: folder of this run; new, empty, or of an interrupted run with the same settings. One that is finished is
            shown again, even if nothing can be written there.
        seed: of all random numbers.
        is_smoke: tiny sizes, to see that everything works.
        console: where to print; the terminal by default.

    Returns:
        What ``results.json`` holds.

    Raises:
        FolderError: ``out`` holds something else.
        ModuleNotFoundError: the data of a chapter are not installed.
        DamagedFileError: the file of a finished chapter does not hold what was written.
        OSError: the disk is full, or fails otherwise.
    """
    digits.check_data()
    console = terminal() if console is None else console
    workspace = Workspace(out, {"seed": seed, "smoke": is_smoke, "jaxrg": jaxrg.__version__})
    if workspace.is_resumed:
        _say(console, f"Going on with the run in {workspace.folder}.")
    results: dict[str, Any] = {"settings": workspace.settings}
    answers = []
    parts = _parts(workspace, seed, is_smoke)
    for part in parts:

        def under_a_bar(part: Part = part) -> dict[str, Any]:
            with bar(part.label, console) as progress:
                return part.compute(progress)

        chapter = results[part.name] = workspace.chapter(part.name, under_a_bar)
        with workspace.check_shown(part.name):
            for table in part.report.tables(chapter):
                _say(console, *table.lines(_width(console)), "")
            answers.append((part.name, part.report.verdicts(chapter)))
    for _, verdicts in answers:
        for verdict in verdicts:
            _say(console, *paragraph(f"{verdict.question} {verdict.answer}: {verdict.numbers}.", _width(console)))
    if workspace.changed:
        _say(console, f"Changed since they were computed: chapters {listed(workspace.changed)}.")
    _write(workspace, parts, results, answers, _intro(workspace, seed, is_smoke), console)
    return results


def _sections(workspace: Workspace, parts: list[Part], results: dict[str, Any]) -> list[str]:
    """The chapters of the page; their figures are written on the way."""
    sections = []
    for part in parts:
        with workspace.check_shown(part.name):
            sections.append(part.report.section(workspace, results[part.name]))
    return sections


def _write(
    workspace: Workspace, parts: list[Part], results: dict[str, Any], answers: list, intro: str, console
) -> None:
    """Figures, page and results; what an earlier run has finished stays as it is where nothing can be written."""
    try:
        sections = _sections(workspace, parts, results)
        path = workspace.page(page.page_html(intro, page.summary_html(answers), sections))
        write_json(workspace.path(RESULTS), results)
    except OSError as error:
        if not workspace.is_finished:
            raise
        _say(console, f"The page in {workspace.folder} stays as it was: it cannot be written ({error.strerror}).")
        return
    seconds = sum(made["seconds"] for made in workspace.made.values())
    _say(console, f"Wrote {path}; its chapters took {seconds:.0f} s.")
