import errno
import gc
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxrg import cli
from jaxrg.demo import run
from jaxrg.demo.workspace import DamagedFileError, Workspace
from jaxrg.store import FolderError
from tests import demo_chapters

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
    for results in (first, again.chapter("one", compute)):
        assert math.isnan(results.pop("nothing"))
        assert results == {"values": [0, 1, 2], "nested": [{"is_done": True}]}
    assert len(calls) == 1
    assert again.changed == []
    assert again.made["one"]["seconds"] >= 0
    assert "UTC" in again.made["one"]["when"]


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


def test_help_is_fast_and_the_package_is_a_command():
    """Without JAX, which takes seconds to import."""
    program = "import runpy, sys; sys.modules['jax'] = None; runpy.run_module('jaxrg', alter_sys=True)"
    shown = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "usage: jaxrg" in shown.stdout


def kept_parts(workspace, seed, is_smoke, **changes):
    """The chapters of the demo with results that are made up instead of computed."""
    made = demo_chapters.chapters() | changes
    return [
        part._replace(compute=lambda progress, name=part.name: made[name]) for part in real_parts(workspace, 0, True)
    ]


real_parts = run._parts


@pytest.fixture
def quick(monkeypatch):
    """The demo without its computations, and with one figure for all."""
    monkeypatch.setattr(run, "_parts", kept_parts)
    return monkeypatch


def demo(folder: Path) -> int:
    return cli.main(["demo", "--smoke", "--out", str(folder)])


def test_a_run_is_shown_on_a_page(tmp_path, quick, capsys):
    quick.setenv("COLUMNS", "80")
    assert demo(tmp_path) == 0
    printed = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in printed if not line.startswith("Wrote")) <= 80
    shown = (tmp_path / "index.html").read_bytes().decode("ascii")
    assert all(path.name in shown for path in tmp_path.glob("*.png"))
    assert len(list(tmp_path.glob("*.png"))) == 15
    for words in ("<h2>Summary</h2>", "<details>", "<thead>", "The chapters took", " UTC", "Python 3.", "cpu"):
        assert words in shown, words
    assert "Not as they were computed" not in shown
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results) == {"settings", *demo_chapters.chapters()}


@pytest.fixture
def finished(tmp_path, quick):
    """A finished run; its figures are left out from then on."""
    quick.setattr(Workspace, "figure", lambda self, name, figure: f"{name}.png")
    quick.setattr(run, "_sections", lambda workspace, parts, results: [])
    folder = tmp_path / "out"
    assert demo(folder) == 0
    return folder


@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]", b"\xff\x00", b'{"results": {}, "made": {}}', None])
def test_a_damaged_chapter_is_a_line_of_words(damage, finished, capsys):
    path = finished / "chapters" / "stack.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert demo(finished) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert "chapters/stack.json: expected what this run wrote, got a damaged file; delete it" in errors[0]
    path.unlink()
    assert demo(finished) == 0


def test_a_changed_number_is_not_shown_in_silence(finished, capsys):
    path = finished / "chapters" / "interactions.json"
    path.write_text(path.read_text().replace('"num_train": 10', '"num_train": 11'))
    assert demo(finished) == 0
    assert "Changed since they were computed: chapters interactions." in capsys.readouterr().out
    assert "the files of the chapters interactions have been changed" in (finished / "index.html").read_text()


def test_a_damaged_array_is_noticed(tmp_path):
    workspace = Workspace(tmp_path, SETTINGS)
    values = np.arange(64, dtype=np.int8)
    workspace.array("spins", lambda: values)
    path = tmp_path / "arrays" / "spins.npz"
    whole = path.read_bytes()
    place = whole.index(values.tobytes()) + 10
    for damaged in (whole[:place] + b"\x55" + whole[place + 1 :], whole[:100], b""):
        path.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=r"spins.npz: expected what this run wrote, got a damaged file"):
            workspace.array("spins", lambda: values)


def refuse(number: int):
    def write(*_, **__):
        raise OSError(number, os.strerror(number), "somewhere")

    return write


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_finished_run_is_shown_where_nothing_can_be_written(number, finished, quick, capsys):
    before = (finished / "index.html").read_bytes()
    quick.setattr(Workspace, "page", refuse(number))
    assert demo(finished) == 0
    assert f"stays as it was: it cannot be written ({os.strerror(number)})" in capsys.readouterr().out
    assert (finished / "index.html").read_bytes() == before


def test_an_unfinished_run_fails_in_words_where_nothing_can_be_written(finished, quick, capsys):
    (finished / "results.json").unlink()
    quick.setattr("jaxrg.demo.workspace.write_json", refuse(errno.EROFS))
    assert demo(finished) == 2
    assert "--out: expected a folder that can be written, got" in capsys.readouterr().err


def test_a_disk_that_fills_up_is_a_line_of_words_and_the_run_goes_on(tmp_path, quick, capsys):
    quick.setattr(run, "_sections", lambda workspace, parts, results: [])
    with quick.context() as full:
        full.setattr(Workspace, "page", refuse(errno.ENOSPC))
        assert demo(tmp_path) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "jaxrg demo: No space left on device: somewhere; what is finished is kept; the same command goes on from there"
    ]
    assert demo(tmp_path) == 0


def test_a_full_disk_at_the_first_write_leaves_the_folder_free(tmp_path, quick, capsys):
    with quick.context() as full:
        full.setattr(Path, "write_text", refuse(errno.ENOSPC))
        assert demo(tmp_path / "out") in (1, 2)
    assert len(capsys.readouterr().err.splitlines()) == 1
    quick.setattr(run, "_sections", lambda workspace, parts, results: [])
    assert demo(tmp_path / "out") == 0


@pytest.mark.parametrize("place", ["file", "file/below", "", "x" * 300])
def test_a_place_that_is_no_folder_is_a_line_of_words(place, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    try:
        status = cli.main(["demo", "--smoke", "--out", str(tmp_path / place) if place else ""])
    except SystemExit as stopped:
        status = stopped.code
    assert status in (1, 2)
    errors = capsys.readouterr().err.splitlines()
    assert len([line for line in errors if "usage" not in line]) == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to go on"),
        (SystemExit(1), 1, "nobody reads the output any more"),
        (ValueError("checkpoint: expected one,\ngot none"), 1, "checkpoint: expected one,"),
    ],
)
def test_what_stops_a_run_is_a_line_of_words(error, status, words, tmp_path, quick, capsys):
    def stop(*_, **__):
        raise error

    quick.setattr("jaxrg.demo.run.run_demo", stop)
    assert demo(tmp_path) == status
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert words in errors[0]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_encoding_can_show_a_run(encoding, finished, quick):
    buffer = io.BytesIO()
    quick.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding=encoding, write_through=True))
    quick.setenv("COLUMNS", "60")
    target = finished.parent / "Größe β [red]"
    finished.rename(target)
    assert demo(target) == 0
    shown = {"ascii": "Grosse beta", "latin-1": "Größe beta", "cp1252": "Größe beta", "utf-8": "Größe β"}
    assert f"{shown[encoding]} [red]" in buffer.getvalue().decode(encoding)


def test_a_closed_standard_output_does_not_matter(finished, quick):
    quick.setattr(sys, "stdout", None)
    assert demo(finished) == 0


def test_ctrl_c_ends_an_import_in_words(tmp_path):
    """Raised there it would be swallowed by one extension and abort another."""
    program = f"""
import os, signal, sys, types
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "jax":
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                pass  # as an extension would
sys.meta_path.insert(0, Finder())
from jaxrg.cli import main
sys.exit(main(["demo", "--out", {str(tmp_path / "out")!r}]))
"""
    stopped = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert stopped.returncode == 130
    assert stopped.stderr == "jaxrg demo: interrupted; run the same command again to go on\n"


def test_ctrl_c_that_a_callback_swallows_comes_again(tmp_path, quick, capsys):
    """JAX has a callback of the garbage collector, and what is raised there Python ignores."""

    def interrupted(*_, **__):
        def swallow(*_):
            gc.callbacks.remove(swallow)
            raise KeyboardInterrupt

        gc.callbacks.append(swallow)
        gc.collect()
        time.sleep(30)

    quick.setattr("jaxrg.demo.run.run_demo", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of a test run ignore it
    try:
        assert demo(tmp_path) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "jaxrg demo: interrupted; run the same command again to go on\n"


def test_a_device_that_is_not_there_is_a_line_of_words(tmp_path, quick, capsys):
    def missing():
        raise RuntimeError("Unable to initialize backend 'gpu'")

    quick.setattr("jax.devices", missing)
    assert demo(tmp_path) == 2
    assert capsys.readouterr().err.startswith("jaxrg demo: Unable to initialize backend 'gpu'; expected")


@pytest.mark.exhaustive
def test_a_demo_stopped_by_ctrl_c_goes_on_to_the_results_of_an_unbroken_one(tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "COLUMNS": "80", "PYTHONIOENCODING": "ascii"}
    # Compiled once for both runs, and without a wish for speed.
    environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

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
        assert "Traceback" not in errors
        assert max(len(line) for line in output.splitlines() if str(tmp_path) not in line) <= 80
    resumed, whole = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("broken", "whole"))
    assert resumed == whole
    page = (tmp_path / "whole" / "index.html").read_text()
    pictures = {path.name for path in (tmp_path / "whole").glob("*.png")}
    assert len(pictures) == 15
    assert all(name in page for name in pictures)
