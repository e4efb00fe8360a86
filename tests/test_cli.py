import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxrg import cli
from jaxrg.demo.report import value_with_error
from jaxrg.demo.workspace import Workspace
from jaxrg.store import FolderError

SETTINGS = {"seed": 0, "smoke": True}

# A test run started in the background ignores Ctrl-C, and so would its children.
LISTENING_PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from jaxrg.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_chapter_is_computed_once_and_read_back(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"values": np.arange(3.0), "nothing": float("nan"), "nested": [{"is_done": True}]}

    workspace = Workspace(tmp_path / "out", SETTINGS)
    assert not workspace.is_resumed
    first = workspace.chapter("one", compute)
    again = Workspace(tmp_path / "out", SETTINGS)
    assert again.is_resumed
    expected = {"values": [0, 1, 2], "nothing": None, "nested": [{"is_done": True}]}
    assert again.chapter("one", compute) == first == expected
    assert len(calls) == 1


def test_an_interrupted_chapter_leaves_nothing_behind(tmp_path):
    workspace = Workspace(tmp_path, SETTINGS)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.chapter("one", interrupted)
    assert workspace.chapter("one", lambda: {"a": 1}) == {"a": 1}
    values = workspace.array("spins", lambda: np.ones((2, 2), np.int8))
    np.testing.assert_array_equal(workspace.array("spins", interrupted), values)
    assert values.dtype == np.int8


def test_a_folder_of_another_run_is_refused_at_once(tmp_path):
    Workspace(tmp_path, SETTINGS)
    with pytest.raises(FolderError, match=r"--out: expected a run with seed 0, as in .*, got 1; nothing was written"):
        Workspace(tmp_path, SETTINGS | {"seed": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--seed", "-1"], "expected an integer from 0 to 2**32 - 1, got -1"),
        (["demo", "--seed", "x"], "expected an integer from 0 to 2**32 - 1, got 'x'"),
        (["demo", "--fast"], "unrecognized arguments: --fast"),
        ([], "the following arguments are required: command"),
    ],
)
def test_bad_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_foreign_folder_is_a_command_line_error(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main(["demo", "--smoke", "--out", str(tmp_path)]) == 2
    assert "jaxrg demo: --out: expected an empty folder" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_missing_data_are_a_command_line_error_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["demo", "--smoke", "--out", str(tmp_path / "out")]) == 2
    assert "expected pip install 'jaxrg[data]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.23456, 0.0067, "1.2346(67)"),
        (12.3, 1.5, "12.3(15)"),
        (1234.5, 67.0, "1234(67)"),
        (0.5, 0.0, "0.5"),
        (1.0712, 0.0998, "1.07(10)"),
    ],
)
def test_errors_are_printed_in_brackets(value, error, text):
    assert value_with_error(value, error) == text


def test_help_is_fast_and_the_package_is_a_command():
    """Without JAX, which takes seconds to import."""
    program = "import runpy, sys; sys.modules['jax'] = None; runpy.run_module('jaxrg', alter_sys=True)"
    shown = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "usage: jaxrg" in shown.stdout


@pytest.mark.slow
def test_a_demo_stopped_by_ctrl_c_goes_on_to_the_results_of_an_unbroken_one(tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "COLUMNS": "200"}

    def start(folder: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", LISTENING_PROGRAM, "demo", "--smoke", "--out", str(folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    broken = start(tmp_path / "broken")
    deadline = time.monotonic() + 240
    while not (tmp_path / "broken" / "chapters" / "exact_map.json").exists():
        assert time.monotonic() < deadline
        assert broken.poll() is None
        time.sleep(0.2)
    broken.send_signal(signal.SIGINT)
    _, errors = broken.communicate(timeout=120)
    assert broken.returncode == 130, errors
    assert "run the same command again to go on" in errors
    assert not (tmp_path / "broken" / "results.json").exists()

    for name in ("broken", "whole"):
        process = start(tmp_path / name)
        output, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors
        assert ("Going on with the run" in output) == (name == "broken")
    resumed, whole = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("broken", "whole"))
    assert resumed == whole
    page = (tmp_path / "whole" / "index.html").read_text()
    pictures = {path.name for path in (tmp_path / "whole").glob("*.png")}
    assert len(pictures) == 8
    assert all(name in page for name in pictures)
