"""The five chapters in order, with progress, results that survive an interruption, and one page at the end."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

import jaxrg
from jaxrg.base import Progress
from jaxrg.demo import block_spins, digits, exact_map, network_report, report, stack, thermodynamics
from jaxrg.demo.workspace import Workspace
from jaxrg.progress import bar
from jaxrg.store import write_json

RESULTS = "results.json"


def _table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    printed = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for index, name in enumerate(header):
        printed.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        printed.add_row(*map(str, row))
    console.print(printed)
    console.print()


def run_demo(out: Path, *, seed: int = 0, is_smoke: bool = False, console: Console | None = None) -> dict[str, Any]:
    """Run every chapter that is not finished in ``out``, then write ``results.json``, the figures and ``index.html``.

    Args:
        out: folder of this run; new, empty, or of an interrupted run with the same settings.
        seed: of all random numbers.
        is_smoke: tiny sizes, to see that everything works.
        console: where to print; the terminal by default.

    Returns:
        What ``results.json`` holds.

    Raises:
        FolderError: ``out`` holds something else.
        ModuleNotFoundError: the data of a chapter are not installed.
    """
    digits.check_data()
    console = Console() if console is None else console
    workspace = Workspace(out, {"seed": seed, "smoke": is_smoke, "jaxrg": jaxrg.__version__})
    if workspace.is_resumed:
        console.print(f"Going on with the run in {out}.")
    keys = dict(
        zip(
            ("scan", "map", "samples", "stack", "blocks", "digits"),
            jax.random.split(jax.random.key(seed), 6),
            strict=True,
        )
    )
    start = time.monotonic()

    def chapter(name: str, label: str, compute: Callable[[Progress], dict[str, Any]]) -> dict[str, Any]:
        def under_a_bar() -> dict[str, Any]:
            with bar(label, console) as progress:
                return compute(progress)

        return workspace.chapter(name, under_a_bar)

    scan = chapter(
        "thermodynamics",
        "1/5 sampling across temperatures",
        lambda progress: thermodynamics.chapter(keys["scan"], is_smoke=is_smoke, progress=progress),
    )
    _table(
        console,
        "1. The Ising model across temperatures",
        report.THERMODYNAMICS_HEADER,
        report.thermodynamics_rows(scan),
    )
    console.print(
        f"{scan['num_scores']} z-scores against exact values: largest {scan['largest_score']:.1f}, "
        f"mean square {scan['mean_square_score']:.2f} (1 expected)\n"
    )

    exact = chapter(
        "exact_map",
        "2/5 exact training and the exact map",
        lambda progress: exact_map.chapter(keys["map"], is_smoke=is_smoke, progress=progress),
    )
    _table(console, "2. The exact map", ("quantity", "before training", "after training"), report.exact_map_rows(exact))

    samples = workspace.array("samples", lambda: stack.sample(keys["samples"], is_smoke=is_smoke))
    learned = chapter(
        "stack",
        "3/5 the stack and its shuffled control",
        lambda progress: stack.chapter(
            keys["stack"], samples, workspace.path("checkpoints"), is_smoke=is_smoke, progress=progress
        ),
    )
    _table(console, "3. Receptive fields by level (lattice spacings)", report.STACK_HEADER, report.stack_rows(learned))

    blocks = chapter(
        "block_spins",
        "4/5 block spins and their couplings",
        lambda progress: block_spins.chapter(keys["blocks"], samples, stack.COUPLING, progress=progress),
    )
    _table(console, "4. Couplings measured before and after blocking", *report.couplings_rows(blocks))

    network = chapter(
        "interactions",
        "5/5 a classifier's interactions",
        lambda progress: digits.chapter(keys["digits"], is_smoke=is_smoke, progress=progress),
    )
    _table(console, "5. Interactions by order through training", network_report.HEADER, network_report.rows(network))
    _table(console, "   Couplings of block spins by the same transform", *network_report.couplings_rows(network))

    results = {
        "settings": workspace.settings,
        "thermodynamics": scan,
        "exact_map": exact,
        "stack": learned,
        "block_spins": blocks,
        "interactions": network,
    }
    sections = [
        report.thermodynamics_section(workspace, scan),
        report.exact_map_section(workspace, exact),
        report.stack_section(workspace, learned),
        report.block_spins_section(workspace, blocks),
        network_report.section(workspace, network),
    ]
    intro = (
        f"Made by <code>jaxrg demo --seed {seed}{' --smoke' if is_smoke else ''}</code>, jaxrg {jaxrg.__version__}, "
        f"jax {jax.__version__}. All numbers are in <a href='{RESULTS}'>{RESULTS}</a>."
    )
    report.write_page(workspace, sections, intro)
    write_json(workspace.path(RESULTS), results)
    console.print(f"Wrote {workspace.path('index.html')} after {time.monotonic() - start:.0f} s.")
    return results
