"""The bar shows what it is told, and a driver takes a function, True or nothing."""

import io

import pytest
from rich.console import Console

from jaxrg import progress


def test_the_bar_shows_label_counts_and_text():
    stream = io.StringIO()
    with progress.bar("counting", Console(file=stream, width=120)) as report:
        report(2, 7, "first")
        report(7, 7, "energy -1.25")
    printed = stream.getvalue()
    assert "counting" in printed
    assert "7/7" in printed
    assert "energy -1.25" in printed


def test_a_driver_takes_a_function_true_or_nothing(capsys):
    seen = []
    for argument in (lambda *values: seen.append(values), None, False, True):
        with progress.reporting(argument, "driving") as report:
            report(1, 2, "half")
    assert seen == [(1, 2, "half")]
    assert capsys.readouterr().out.count("driving") == 1


def test_what_is_neither_is_refused():
    with (
        pytest.raises(ValueError, match=r"progress: expected True, False, None or a function of .*, got 3"),
        progress.reporting(3, "driving"),
    ):
        pass
