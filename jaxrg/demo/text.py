"""Numbers as text, tables for the terminal and the page, and what counts as more than an error."""

import html
import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SIGMAS = 2.0  # standard errors beyond which two numbers are called different


def value_with_error(value: float, error: float) -> str:
    """Two digits of the error in brackets, as in 1.2345(67); very large and very small numbers with an exponent."""
    if not math.isfinite(value) or error <= 0:
        return f"{value:.6g}"
    if not math.isfinite(error):
        return f"{value:.6g}(?)"
    size = max(abs(value), error)
    if not 1e-4 <= size < 1e7:
        exponent = math.floor(math.log10(size))
        return f"{value_with_error(value / 10.0**exponent, error / 10.0**exponent)}e{exponent:+03d}"
    decimals = max(0, 1 - math.floor(math.log10(float(f"{error:.1e}"))))
    return f"{value:.{decimals}f}({round(error * 10**decimals)})"


def combined(*errors: float) -> float:
    """Error of a sum or difference of independent numbers; NaN if one is not known."""
    return math.hypot(*errors)


def is_beyond(difference: float, error: float) -> bool:
    """Whether a difference is larger than `SIGMAS` of its errors; not if either is unknown."""
    return difference > SIGMAS * error


def chance_of_largest(scores: Sequence[float]) -> float:
    """Probability that the largest of as many independent normal scores is at least as large as of these."""
    largest = max(map(abs, scores))
    return -math.expm1(len(scores) * math.log1p(-math.erfc(largest / math.sqrt(2)))) if largest else 1.0


def listed(items: Sequence[object]) -> str:
    """Items as in "1, 2 and 3"."""
    words = [str(item) for item in items]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def paragraph(text: str, width: int | None) -> list[str]:
    """Prose as lines of ``width``, later ones indented, where its words allow that; None for one line."""
    if width is None:
        return [text]
    options = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": "  "}
    return textwrap.wrap(text, max(width, 3), **options)


class Verdict(NamedTuple):
    """A question, the answer that follows from numbers, and the numbers; ``is_yes`` is None where they do not say."""

    question: str
    is_yes: bool | None
    numbers: str

    @property
    def answer(self) -> str:
        """Yes, no, or not known."""
        return {True: "yes", False: "no", None: "not known"}[self.is_yes]


class Table(NamedTuple):
    """A table for the terminal, which never loses a digit of it, and for the page."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_shared: int = 0  # leading columns that are shown once where rows below each other agree in them

    def lines(self, width: int | None) -> list[str]:
        """The title and the table as lines of ``width`` where its numbers allow that; None for any width.

        What is too wide gets a header of several lines, then narrower spaces, then several lines a row.
        """
        shown, title = self._shown(), paragraph(self.title, width)
        is_text = self._is_text()
        widest = [max(map(len, column)) for column in zip(*shown, strict=True)] if shown else [0] * len(self.header)
        stacked = [textwrap.wrap(name, max(size, 1), break_long_words=False) for name, size in self._sizes(widest)]
        for gap, header in ((2, [[name] for name in self.header]), (2, stacked), (1, stacked)):
            widths = [max(size, *map(len, names)) for size, names in zip(widest, header, strict=True)]
            if width is None or sum(widths) + gap * (len(widths) - 1) <= width:
                return [*title, *_aligned(header, shown, widths, is_text, gap, [range(len(widths))])]
        return [*title, *_aligned(stacked, shown, widths, is_text, 1, _folded(widths, width))]

    def as_html(self, *, is_folded: bool = False) -> str:
        """The table as HTML; a folded one shows its title until it is opened."""
        kinds = [' class="text"' if is_text else "" for is_text in self._is_text()]
        head = "".join(
            f'<th scope="col"{kind}>{html.escape(name)}</th>' for name, kind in zip(self.header, kinds, strict=True)
        )
        lines = []
        for shared, group in itertools.groupby(self.rows, lambda row: tuple(row[: self.num_shared])):
            rows = list(group)
            span = f' rowspan="{len(rows)}"' if len(rows) > 1 else ""
            first = "".join(
                f"<td{kind}{span}>{html.escape(cell)}</td>" for cell, kind in zip(shared, kinds, strict=False)
            )
            for row in rows:
                cells = zip(row[self.num_shared :], kinds[self.num_shared :], strict=True)
                lines.append(
                    f"<tr>{first}" + "".join(f"<td{kind}>{html.escape(cell)}</td>" for cell, kind in cells) + "</tr>"
                )
                first = ""
        title = "" if is_folded else f"<caption>{html.escape(self.title)}</caption>"
        table = f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        scrolling = f'<div class="wide" tabindex="0">{table}</div>'
        if not is_folded:
            return scrolling
        summary = f"{html.escape(self.title)}: {len(self.rows)} rows"
        return f"<details><summary>{summary}</summary>{scrolling}</details>"

    def _shown(self) -> list[list[str]]:
        shown, above = [], None
        for row in self.rows:
            is_same = above is not None and row[: self.num_shared] == above[: self.num_shared]
            shown.append([*([""] * self.num_shared if is_same else row[: self.num_shared]), *row[self.num_shared :]])
            above = row
        return shown

    def _is_text(self) -> list[bool]:
        """Columns of words, which are aligned on the left: some entry is neither a number nor unknown."""
        return [
            any(cell and cell != "nan" and not any(map(str.isdigit, cell)) for cell in column)
            for column in (zip(*self.rows, strict=True) if self.rows else [()] * len(self.header))
        ]

    def _sizes(self, widest: Sequence[int]) -> list[tuple[str, int]]:
        return [(name, max(size, *map(len, name.split()))) for name, size in zip(self.header, widest, strict=True)]


def _folded(widths: Sequence[int], width: int | None) -> list[range]:
    """Columns line by line: as many as fit, at least one."""
    lines, start = [], 0
    while start < len(widths):
        stop, used = start + 1, widths[start]
        while stop < len(widths) and width is not None and used + 1 + widths[stop] <= width:
            used += 1 + widths[stop]
            stop += 1
        lines.append(range(start, stop))
        start = stop
    return lines


def _aligned(
    header: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    is_text: Sequence[bool],
    gap: int,
    lines: Sequence[range],
) -> list[str]:
    height = max(map(len, header))
    # Below each other's last line: a header of one line stands beside the last of a taller one.
    tall = [[""] * (height - len(names)) + list(names) for names in header]
    printed = []
    for columns in lines:
        printed += [
            _line([tall[column][part] for column in columns], columns, widths, is_text, gap) for part in range(height)
        ]
    for row in rows:
        printed += [_line([row[column] for column in columns], columns, widths, is_text, gap) for columns in lines]
    return [line for line in printed if line] if len(lines) > 1 else printed


def _line(cells: Sequence[str], columns: range, widths: Sequence[int], is_text: Sequence[bool], gap: int) -> str:
    padded = [
        f"{cell:<{widths[column]}}" if is_text[column] else f"{cell:>{widths[column]}}"
        for cell, column in zip(cells, columns, strict=True)
    ]
    return (" " * gap).join(padded).rstrip()


def mean_square(scores: Sequence[float]) -> tuple[float, float]:
    """Mean square of scores, and how far it strays from 1 if they are independent and normal."""
    return float(np.mean(np.square(scores))), math.sqrt(2 / len(scores))
