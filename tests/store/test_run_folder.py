"""A folder is its run's alone, and a refusal writes nothing."""

import errno
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import store

DESCRIPTION = {"seed": 0, "scale": np.float32(0.5), "shape": (2, 3), "arrays": {".a": 1, ".b": 2}}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_goes_on_in_its_own_folder(tmp_path):
    run = store.RunFolder(tmp_path / "out", DESCRIPTION)
    assert not run.is_resumed
    assert not run.folder.exists()
    assert run.path("deep/result.txt").parent.is_dir()
    again = store.RunFolder(tmp_path / "out", DESCRIPTION | {"scale": 0.5, "shape": [2, 3]})
    assert again.is_resumed
    assert again.description == DESCRIPTION | {"scale": 0.5, "shape": [2, 3]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"--out: expected a run with seed 0, as in .*, got 1; nothing was written: give each run"),
        ({"shape": (3, 2)}, r"expected a run with shape \[2, 3\], as in .*, got \[3, 2\]"),
        ({"extra": "x"}, "expected a run with extra None, as in .*, got 'x'"),
        ({"arrays": {".a": 1, ".b": 3}}, r"expected a run with arrays\.b 2, as in .*, got 3"),
        ({"seed": 1, "scale": 1, "shape": ()}, r"seed 0, .* got 1 \(and another scale, shape\); nothing was"),
    ],
)
def test_another_run_is_refused_by_the_item_that_differs(change, message, tmp_path):
    store.RunFolder(tmp_path, DESCRIPTION).claim()
    before = contents(tmp_path)
    with pytest.raises(store.FolderError, match=message):
        store.RunFolder(tmp_path, DESCRIPTION | change, name="--out")
    assert contents(tmp_path) == before


def test_programs_are_compared_under_the_jax_that_made_them(tmp_path, monkeypatch):
    store.RunFolder(tmp_path, DESCRIPTION, programs={"step": "one"}).claim()
    with pytest.raises(store.FolderError, match=r"expected a run with step 'one', as in .*, got 'other'"):
        store.RunFolder(tmp_path, DESCRIPTION, programs={"step": "other"})
    monkeypatch.setattr(jax, "__version__", "another")
    assert store.RunFolder(tmp_path, DESCRIPTION, programs={"step": "other"}).is_resumed
    with pytest.raises(store.FolderError, match="seed"):
        store.RunFolder(tmp_path, DESCRIPTION | {"seed": 1})


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(store.FolderError, match=r"folder: expected an empty folder or one of this run, got .* other"):
        store.RunFolder(tmp_path, DESCRIPTION)
    assert contents(tmp_path) == {tmp_path / "thesis.tex": b"precious"}
    with pytest.raises(store.FolderError, match="expected a folder, got the file"):
        store.RunFolder(tmp_path / "thesis.tex", DESCRIPTION)
    with pytest.raises(store.FolderError, match=r"expected a folder, got the file .*thesis.tex, where .*out cannot be"):
        store.RunFolder(tmp_path / "thesis.tex" / "out", DESCRIPTION)
    for place in (3, None, "a\0b", b"bytes"):
        with pytest.raises(store.FolderError, match="folder: expected"):
            store.RunFolder(place, DESCRIPTION)


@pytest.mark.parametrize("content", ["not json", "[1, 2]", '{"run": {}}', '{"run": 1, "programs": 2, "release": "x"}'])
def test_a_foreign_run_file_is_refused(content, tmp_path):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(store.FolderError, match=r"expected a run, got .* with a run.json of something else"):
        store.RunFolder(tmp_path, DESCRIPTION)


def test_a_process_killed_while_it_claimed_the_folder_may_try_again(tmp_path):
    (tmp_path / ".run.json.partial.json").write_text('{"run"')
    store.RunFolder(tmp_path, DESCRIPTION).claim()
    assert store.RunFolder(tmp_path, DESCRIPTION).is_resumed


def test_files_are_whole_or_not_at_all(tmp_path):
    path = tmp_path / "result.json"
    store.write_json(path, {"values": jnp.array([1.0, jnp.nan]), 3: [True, None, float("inf")]})
    before = path.read_text()
    assert json.loads(before) == {"values": [1.0, None], "3": [True, None, None]}

    def interrupted(partial):
        partial.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_atomically(path, interrupted)
    assert path.read_text() == before


def test_a_changed_run_is_the_run_of_the_folder_from_then_on(tmp_path):
    store.RunFolder(tmp_path, DESCRIPTION).claim()
    with pytest.raises(store.FolderError, match="seed 0"):
        store.RunFolder(tmp_path, DESCRIPTION | {"seed": 1, "scale": 1}, changed=("scale",))
    changed = store.RunFolder(tmp_path, DESCRIPTION | {"scale": 1}, changed=("scale",))
    assert store.RunFolder(tmp_path, DESCRIPTION).is_resumed  # nothing is written before it is claimed
    changed.claim()
    assert store.RunFolder(tmp_path, DESCRIPTION | {"scale": 1}).is_resumed
    with pytest.raises(store.FolderError, match="scale 1, as in"):
        store.RunFolder(tmp_path, DESCRIPTION)


def test_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.RunFolder("~/runs/first", {}).folder == tmp_path / "runs" / "first"


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, text):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_text", full)
    run = store.RunFolder(tmp_path, DESCRIPTION)
    with pytest.raises(OSError, match=r"folder: expected a disk with room for .*run.json, got 'No space") as caught:
        run.claim()
    assert (caught.value.errno, list(tmp_path.iterdir())) == (errno.ENOSPC, [])
    monkeypatch.undo()
    run.claim()
    assert run.is_resumed
