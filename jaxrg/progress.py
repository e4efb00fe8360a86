"""The bar with the time left that every driver shows, and what drivers make of their argument ``progress``."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Display

from jaxrg.base import Progress

BAR_WIDTH = 15
TIMES_WIDTH = 24  # of both times and the space between columns; the text gets what is left of the line


@contextmanager
def bar(label: str, console: Console | None = None) -> Iterator[Progress]:
    """A bar in the terminal: the label, how much is done, the time it took, the time left and the latest text.

    Args:
        label: what is going on.
        console: of rich; the terminal unless given.

    Returns:
        A context manager that gives ``progress(done, total, text)``; the bar ends with it.

    Example:
        >>> with bar("counting", Console(quiet=True)) as progress:
        ...     for number in range(3):
        ...         progress(number + 1, 3, "nothing to report")
    """
    done = (
        TextColumn("{task.description}", markup=False),
        BarColumn(BAR_WIDTH),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    left = (TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[text]}", markup=False))
    with Display(*done, *left, console=console) as display:
        task = display.add_task(label, total=None, text="")
        room = display.console.width - len(label) - BAR_WIDTH - TIMES_WIDTH

        def progress(done: int, total: int, text: str) -> None:
            text = text[: max(0, room - len(f"{total}/{total}"))]
            display.update(task, completed=done, total=total, text=text)

        yield progress


@contextmanager
def reporting(progress: Progress | bool | None, label: str) -> Iterator[Progress]:
    """What a driver calls for its argument ``progress``: the function it was given, a `bar` for True, or nothing.

    Example:
        >>> with reporting(print, "sampling") as report:
        ...     report(5, 10, "energy -1.2")
        5 10 energy -1.2
    """
    if callable(progress):
        yield progress
    elif progress:
        with bar(label) as report:
            yield report
    else:
        yield lambda done, total, text: None
