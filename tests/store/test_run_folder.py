"""A folder is its run's alone, and a refusal writes nothing."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import store

DESCRIPTION = {"seed": 0, "scale": np.float32(0.5), "shape": (2, 3)}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_goes_on_in_its_own_folder(tmp_path):
    run = store.RunFolder(tmp_path / "out", DESCRIPTION)
    assert not run.is_resumed
    assert not run.folder.exists()
    assert run.path("deep/result.txt").parent.is_dir()
    again = store.RunFolder(tmp_path / "out", {"seed": 0, "scale": 0.5, "shape": [2, 3]})
    assert again.is_resumed
    assert again.description == {"seed": 0, "scale": 0.5, "shape": [2, 3]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"--out: expected a run with seed 0, as in .*, got 1; nothing was written: give each run"),
        ({"shape": (3, 2)}, r"expected a run with shape \[2, 3\], as in .*, got \[3, 2\]"),
        ({"extra": "x"}, "expected a run with extra None, as in .*, got 'x'"),
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
    with pytest.raises(store.FolderError, match="expected a folder that can be written"):
        store.RunFolder(tmp_path / "thesis.tex" / "out", DESCRIPTION).claim()


@pytest.mark.parametrize("content", ["not json", "[1, 2]", '{"run": {}}', '{"run": 1, "programs": 2, "jax": "x"}'])
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
