"""Damage to any file of a store is found, named, and put back to the very bytes by a replay."""

import random
import shutil

import jax
import numpy as np
import pytest

from jaxrg import lattice, models, samplers, store
from jaxrg.store import sample_writer

KEY = jax.random.key(3)
SAMPLER = samplers.heat_bath(models.Ising(lattice.hypercubic((4, 6)), 0.4))
NUM_COMMITS = 4  # of which the first is the start


def contents(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "store"
    samplers.sample(folder, KEY, SAMPLER, 11, samples_per_commit=4)
    return folder


@pytest.fixture
def copied(original, tmp_path):
    return shutil.copytree(original, tmp_path / "store")


def flip(path, rng):
    content = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def truncate(path, rng):
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


DAMAGES = {"flip": flip, "truncate": truncate, "lose": lambda path, rng: path.unlink()}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_is_found_named_and_repaired(damage, original, copied):
    rng, whole = random.Random(damage), contents(original)
    assert len(whole) == 2 + 2 * NUM_COMMITS + 2 * (NUM_COMMITS - 1)
    for path in whole:
        DAMAGES[damage](copied / path, rng)
        assert [found.path for found in store.SampleStore.damages(copied)] == [path]
        repaired = samplers.repair(copied, KEY, SAMPLER)
        assert [found.path for found in repaired] == [path]
        assert contents(copied) == whole
    assert samplers.verify(copied, KEY, SAMPLER) == []


def test_a_damaged_store_is_neither_read_nor_written(original, copied):
    rng = random.Random(0)
    for path in contents(original):
        for name, damage in DAMAGES.items():
            damage(copied / path, rng)
            damaged = contents(copied)
            if not path.startswith("states/"):
                with pytest.raises(ValueError, match=path):
                    store.SampleStore(copied).read()
            is_old = path.startswith(("samples/0", "states/")) and path != f"states/0000000{NUM_COMMITS - 1}.npz"
            if name != "flip" or not is_old:  # a bit of an old file is noticed when it is read
                with pytest.raises(ValueError, match=path):
                    samplers.sample(copied, KEY, SAMPLER, 12)
            assert contents(copied) == damaged
            shutil.copyfile(original / path, copied / path)


SEVERAL = {
    "everything of a commit": ["commits/00000002.json", "samples/00000002/c.0.0.0", "states/00000002.npz"],
    "two records": ["commits/00000001.json", "commits/00000002.json"],
    "the last records": ["commits/00000002.json", "commits/00000003.json"],
    "the start": ["run.json", "commits/00000000.json", "states/00000000.npz"],
    "all states": [f"states/0000000{number}.npz" for number in range(NUM_COMMITS)],
    "all samples": [f"samples/0000000{number}/c.0.0.0" for number in range(1, NUM_COMMITS)],
    "mark and record": ["samples/zarr.json", "commits/00000001.json"],
}


@pytest.mark.parametrize("paths", SEVERAL.values(), ids=SEVERAL)
def test_several_files_are_repaired_together(paths, original, copied):
    rng = random.Random(1)
    for path in paths:
        rng.choice(list(DAMAGES.values()))(copied / path, rng)
    found = [damage.path for damage in store.SampleStore.damages(copied)]
    assert set(found) <= set(paths)
    assert found
    samplers.repair(copied, KEY, SAMPLER)
    assert contents(copied) == contents(original)


def test_a_lost_folder_comes_back(original, copied):
    for name in ("samples", "states"):
        shutil.rmtree(copied / name)
        samplers.repair(copied, KEY, SAMPLER)
        assert contents(copied) == contents(original)


def test_records_of_another_release_are_repaired_with_their_own_words(original, copied, monkeypatch):
    def past():
        return {"jaxrg": "0.0.9"}

    with monkeypatch.context() as patched:
        patched.setattr(sample_writer, "environment", past)
        samplers.sample(copied, KEY, SAMPLER, 20, samples_per_commit=4)
    whole = contents(copied)
    for path in ("commits/00000004.json", "commits/00000001.json"):
        (copied / path).unlink()
        samplers.repair(copied, KEY, SAMPLER)
        assert contents(copied) == whole


def test_a_replay_by_another_program_is_told_and_replaces_nothing(original, copied, monkeypatch):
    from jaxrg.samplers import recording

    advance = recording.Recording.advance

    def differently(self, state, num_samples, progress=None):
        after, values = advance(self, state, num_samples, progress)
        return after, values ^ np.uint32(num_samples == 4)

    monkeypatch.setattr(recording.Recording, "advance", differently)
    found = samplers.verify(copied, KEY, SAMPLER)
    assert [damage.path for damage in found] == ["samples/00000001", "samples/00000002"]
    assert "other samples than a replay gives" in str(found[0])
    assert samplers.verify(copied, KEY, SAMPLER, commits=[0, 3]) == []
    (copied / "states" / "00000001.npz").unlink()
    damaged = contents(copied)
    with pytest.raises(store.DamagedError, match="expected a replay of commit 1 to give what was written to"):
        samplers.repair(copied, KEY, SAMPLER)
    assert contents(copied) == damaged


def test_what_is_no_store_or_no_commit_is_refused(original, tmp_path):
    for call in (samplers.verify, samplers.repair):
        with pytest.raises(store.FolderError, match="expected a sample store, got"):
            call(tmp_path / "nothing", KEY, SAMPLER)
    with pytest.raises(ValueError, match="commits: expected numbers below 4, got 4"):
        samplers.verify(original, KEY, SAMPLER, commits=[4])
    with pytest.raises(store.FolderError, match="expected a sample store"):
        store.SampleStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_bits_of_every_byte_of_every_file_count(original, copied):
    for path, content in contents(original).items():
        for bit in range(0, 8 * len(content), 7):  # all of them take a minute
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            (copied / path).write_bytes(damaged)
            assert [found.path for found in store.SampleStore.damages(copied)] == [path], bit
        (copied / path).write_bytes(content)
