"""The bar with the time left that every driver shows, and what drivers make of their argument ``progress``."""

import codecs
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Display
from rich.table import Column

from jaxrg.base import Progress
from jaxrg.checks import kind_of

# Of each with the space before it; the text gets what is left of the line.
BAR_WIDTH, TIMES_WIDTH, COUNTS_WIDTH = 16, 21, 10
_SPELLED = {"━": "-", "╸": "-", "╺": "-", "─": "-", "–": "-", "—": "-", "×": "x", "±": "+-", "·": ".", "•": "*"}
_SPELLED |= {"“": '"', "”": '"', "‘": "'", "’": "'", "≤": "<=", "≥": ">=", "→": "->", "∞": "inf", "−": "-", "√": "sqrt"}
_SPELLED |= {"ß": "ss", "æ": "ae", "ø": "o", "ł": "l"}


def _ascii(character: str) -> str:
    """A character in ASCII: another one that looks like it, the name of a Greek letter, or a question mark."""
    if character in _SPELLED:
        return _SPELLED[character]
    name = unicodedata.name(character, "").split()
    if name[:1] == ["GREEK"] and "LETTER" in name:
        letter = name[name.index("LETTER") + 1]
        return letter.capitalize() if "CAPITAL" in name else letter.lower()
    plain = unicodedata.normalize("NFKD", character).replace("\u2044", "/")
    return plain.encode("ascii", "ignore").decode() or "?"


def _transliterate(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


codecs.register_error("jaxrg.transliterate", _transliterate)


def spelled(text: str, encoding: str) -> str:
    """The text in characters that an encoding has.

    Example:
        >>> spelled("β × L² … Größe", "ascii")
        'beta x L2 ... Grosse'
    """
    return text.encode(encoding, "jaxrg.transliterate").decode(encoding)


class _Transliterated:
    """A text stream that spells what its encoding does not have, instead of raising UnicodeEncodeError."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        return self._stream.write(spelled(text, encoding))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def terminal(stream: Any = None) -> Console:
    """A console of rich that any text can be printed on, whatever the encoding of the stream behind it.

    Args:
        stream: a text stream; ``sys.stdout`` unless given. A closed one swallows what is printed.

    Example:
        >>> import io
        >>> stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", write_through=True)
        >>> terminal(stream).print("5 × 5 spins … β = 0.4")
        >>> stream.buffer.getvalue().decode("latin-1")
        '5 × 5 spins ... beta = 0.4\\n'
    """
    stream = sys.stdout if stream is None else stream
    return Console(quiet=True) if stream is None else Console(file=_Transliterated(stream))  # type: ignore[arg-type]


def _columns(label: str, width: int) -> tuple[list[ProgressColumn], int]:
    """What fits on one line, and what that leaves for the text: on a narrow one the bar goes first, then the times."""
    left = width - len(label) - COUNTS_WIDTH

    def column() -> Column:
        return Column(no_wrap=True, overflow="crop")  # an encoding may not have the dots that rich puts for the rest

    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False, table_column=column())]
    times: list[ProgressColumn] = []
    if left >= TIMES_WIDTH:
        times = [TimeElapsedColumn(table_column=column()), TextColumn("left")]
        times.append(TimeRemainingColumn(table_column=column()))
        left -= TIMES_WIDTH
        if left >= BAR_WIDTH:
            columns.append(BarColumn(BAR_WIDTH - 1))
            left -= BAR_WIDTH
    text = TextColumn("{task.fields[text]}", markup=False, table_column=column())
    return [*columns, MofNCompleteColumn(table_column=column()), *times, text], left


@contextmanager
def bar(label: str, console: Console | None = None) -> Iterator[Progress]:
    """A bar in the terminal: the label, how much is done, the time it took, the time left and the latest text.

    Args:
        label: what is going on.
        console: of rich; `terminal` unless given.

    Returns:
        A context manager that gives ``progress(done, total, text)``; the bar ends with it.

    Example:
        >>> with bar("counting", Console(quiet=True)) as progress:
        ...     for number in range(3):
        ...         progress(number + 1, 3, "nothing to report")
    """
    console = terminal() if console is None else console
    label = spelled(label, console.encoding)[: max(1, console.width - COUNTS_WIDTH)]
    columns, room = _columns(label, console.width)
    with Display(*columns, console=console) as display:
        task = display.add_task(label, total=None, text="")

        def progress(done: int, total: int, text: str) -> None:
            text, most = spelled(text, console.encoding), max(0, room + COUNTS_WIDTH - 2 - len(f"{total}/{total}"))
            if len(text) > most:  # whole words: half a number is another number
                text = text[: most + 1].rpartition(" ")[0]
            display.update(task, completed=done, total=total, text=text)

        yield progress


@contextmanager
def reporting(progress: Progress | bool | None, label: str) -> Iterator[Progress]:
    """What a driver calls for its argument ``progress``: the function it was given, a `bar` for True, or nothing.

    Raises:
        ValueError: neither a function nor True, False or None.

    Example:
        >>> with reporting(print, "sampling") as report:
        ...     report(5, 10, "energy -1.2")
        5 10 energy -1.2
    """
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise ValueError(
            f"progress: expected True, False, None or a function of (done, total, text), got {kind_of(progress)}"
        )
    if callable(progress):
        yield progress
    elif progress:
        with bar(label) as report:
            yield report
    else:
        yield lambda done, total, text: None
