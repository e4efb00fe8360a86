"""Pytrees come back bit for bit, the newest few, and damage is noticed."""

import shutil

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxrg import store


def state(scale: float = 1.0):
    params = {"weights": scale * jnp.arange(600, dtype=jnp.float32).reshape(20, 30), "bias": jnp.zeros(3, jnp.bfloat16)}
    return params, optax.adam(0.1).init(params), None, [jnp.int8(-1)]


def template():
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state())


def test_the_newest_are_kept_and_come_back(tmp_path):
    run = store.RunFolder(tmp_path, {"seed": 0})
    with store.Checkpoints(run) as checkpoints:
        assert checkpoints.latest() is None
        assert not any(tmp_path.iterdir())
        for step in (1, 2, 5, 5):
            checkpoints.save(step, state(step))
    with store.Checkpoints(store.RunFolder(tmp_path, {"seed": 0})) as checkpoints:
        assert checkpoints.latest() == 5
        for step in (2, 5):
            found, expected = checkpoints.restore(step, template()), state(step)
            assert jax.tree.structure(found) == jax.tree.structure(expected)
            assert store.fingerprint(found) == store.fingerprint(expected)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()) == ["2", "5"]


def flip_a_bit(step):
    data = max((path for path in (step / "tree").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1  # Orbax reads this back without complaint
    data.write_bytes(content)


def truncate(step):
    for path in (path for path in step.rglob("*") if path.is_file()):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_an_item(step):
    shutil.rmtree(step / "check")


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, lose_an_item])
def test_damage_is_noticed(damage, tmp_path):
    run, noise = store.RunFolder(tmp_path, {}), jax.random.normal(jax.random.key(0), (5000,))
    with store.Checkpoints(run) as checkpoints:
        checkpoints.save(1, noise)
    damage(tmp_path / "checkpoints" / "1")
    with store.Checkpoints(run) as checkpoints, pytest.raises(ValueError, match="expected the data that were saved"):
        checkpoints.restore(1, noise)
