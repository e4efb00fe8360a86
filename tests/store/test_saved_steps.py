"""Pytrees come back bit for bit, the newest few, and damage is noticed."""

import collections
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import store


class Own(NamedTuple):
    weights: jax.Array
    nothing: None


def state(scale: float = 1.0):
    params = {"weights": scale * jnp.arange(60, dtype=jnp.float32).reshape(20, 3), "bias": jnp.zeros(3, jnp.bfloat16)}
    odd = {"empty": np.zeros((0, 3)), "key": jax.random.key(7), "keys": jax.random.split(jax.random.key(1), 2)}
    return params, optax.adam(0.1).init(params), None, [jnp.int8(-1), np.int64(2**40)], Own(jnp.bool_(True), None), odd


def test_the_newest_are_kept_and_come_back(tmp_path):
    run = store.RunFolder(tmp_path, {"seed": 0})
    checkpoints = store.Checkpoints(run)
    assert checkpoints.newest() is None
    assert not any(tmp_path.iterdir())
    for step in (1, 2, 5):
        checkpoints.save(step, state(step), notes={"rate": [0.5, step]})
    found = store.Checkpoints(store.RunFolder(tmp_path, {"seed": 0})).newest()
    assert (found.step, found.notes) == (5, {"rate": [0.5, 5]})
    assert store.fingerprint(found.tree) == store.fingerprint(state(5))
    assert jax.tree.structure(found.tree) == jax.tree.structure(state(5))
    assert [leaf.tolist() for leaf in found.at("[0]['bias']")] == [[0, 0, 0]]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "5"]


def test_classes_that_are_not_there_and_other_containers_have_look_alikes(tmp_path):
    gone = collections.namedtuple("Gone", ["one", "two"])
    ordered = collections.OrderedDict(b=np.float32(1), a=np.float32(2))
    checkpoints = store.Checkpoints(store.RunFolder(tmp_path, {}))
    checkpoints.save(0, (gone(np.ones(1), ()), ordered))
    first, second = checkpoints.newest().tree
    assert type(first).__name__ == "Gone"
    assert (first._fields, first.two) == (("one", "two"), ())
    assert second == {"a": 2, "b": 1}


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def saved(tmp_path):
    checkpoints = store.Checkpoints(store.RunFolder(tmp_path, {}))
    for step in (1, 2):
        checkpoints.save(step, {"noise": jax.random.normal(jax.random.key(step), (200,))})
    return checkpoints


def is_step_one(checkpoints) -> bool:
    with pytest.warns(UserWarning, match=r"expected what was saved, got .*/checkpoints/2; going on from step 1"):
        found = checkpoints.newest()
    return found.step == 1 and store.fingerprint(found.tree["noise"]) == store.fingerprint(
        jax.random.normal(jax.random.key(1), (200,))
    )


def files_of(step):
    return sorted((path for path in step.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, lambda path: path.unlink()], ids=["flip", "truncate", "lose"])
def test_damage_to_any_file_of_the_newest_is_noticed_and_the_one_before_is_taken(damage, saved):
    for path in files_of(saved.folder / "2"):
        content = path.read_bytes()
        damage(path)
        assert is_step_one(saved)
        path.write_bytes(content)
    assert saved.newest().step == 2
    shutil.rmtree(saved.folder / "2" / "arrays")
    assert is_step_one(saved)


@pytest.mark.slow
def test_single_bits_of_the_two_largest_files_matter(saved):
    for path in files_of(saved.folder / "2")[-2:]:
        content = path.read_bytes()
        for bit in range(0, 8 * len(content), 17):  # all of them take minutes
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.warns(UserWarning, match="going on from step 1"):
                assert saved.newest().step == 1
        path.write_bytes(content)


def test_without_a_whole_one_the_error_is_short_and_a_damaged_one_is_written_again(saved):
    for step in ("1", "2"):
        truncate(saved.folder / step / "check.json")
    with (
        pytest.warns(UserWarning, match="going on from step 1"),
        pytest.raises(store.DamagedError, match=r"got a JSONDecodeError from .*; there is none before it") as caught,
    ):
        saved.newest()
    assert caught.value.__suppress_context__
    saved.save(1, {"noise": np.ones(3)})
    assert saved.newest().step == 1
    assert saved.newest().tree["noise"].tolist() == [1, 1, 1]


def test_what_a_killed_process_leaves_behind_is_no_checkpoint(saved):
    (saved.folder / ".7.partial").mkdir()
    (saved.folder / ".1.removed").mkdir()
    assert saved.newest().step == 2
    saved.save(3, {"noise": np.ones(1)})
    assert sorted(path.name for path in saved.folder.iterdir()) == ["2", "3"]
