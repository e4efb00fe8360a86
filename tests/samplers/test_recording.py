"""Recorded chains: the trajectory of a plain run, whatever kills the process, and refusals that lose nothing."""

import contextlib
import os
import pathlib
import resource
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore

from jaxrg import lattice, models, samplers, stats, store
from jaxrg.store import files, records

KEY = jax.random.key(3)
ISING = models.Ising(lattice.hypercubic((4, 6)), 0.4)
PHI4 = models.Phi4(lattice.hypercubic((4, 4)), -1.0, 1.0)
CHAINS = {
    "heat_bath": samplers.heat_bath(ISING),
    "replicas": samplers.replicas(samplers.thin(samplers.metropolis(ISING), 2), 3),
    "multispin": samplers.multispin_heat_bath(ISING, num_chains=64, num_draws=4),
    "hmc": samplers.hmc(PHI4, 0.1, 2),
}
NUM_SAMPLES, PER_COMMIT = 11, 4


def record(folder, sampler=CHAINS["heat_bath"], num_samples=NUM_SAMPLES, key=KEY, **options):
    options = {"samples_per_commit": PER_COMMIT} | options
    return samplers.sample(folder, key, sampler, num_samples, **options)


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "store"
    record(folder)
    return contents(folder)


@pytest.mark.parametrize("name", CHAINS)
def test_what_is_stored_is_the_trajectory_of_a_run(name, tmp_path):
    sampler = CHAINS[name]
    start = sampler.init(jax.random.key(8))
    expected = samplers.run(KEY, sampler, start, NUM_SAMPLES, observe=lambda configuration: configuration)
    record(tmp_path, sampler, 5, state=start)
    found = record(tmp_path, sampler, state=start)  # goes on from 5, the end of a commit
    trace = np.asarray(expected.trace)
    np.testing.assert_array_equal(found.read(), trace, strict=True)
    np.testing.assert_array_equal(found.read(3, -1), trace[:, 3:-1], strict=True)
    assert found.read(4, 4).shape == (trace.shape[0], 0, *trace.shape[2:])
    assert store.fingerprint(found.state()) == store.fingerprint(expected.state)
    assert found.step == int(expected.state.step)
    assert samplers.verify(tmp_path, KEY, sampler, state=start) == []
    num_sites = 24 if trace.dtype == np.int8 else 16 * 32
    chunk = 4 * -(-num_sites // 32) * PER_COMMIT * trace.shape[0]
    assert (tmp_path / "samples/00000001/c.0.0.0").stat().st_size == chunk + 4 if name != "hmc" else True


def test_the_same_call_again_does_nothing_and_fewer_samples_are_there_already(tmp_path, undisturbed):
    record(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    seen = []
    for num_samples in (NUM_SAMPLES, 3):
        found = record(tmp_path, num_samples=num_samples, progress=lambda *report: seen.append(report))
        assert found.num_samples == NUM_SAMPLES
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == times
    assert contents(tmp_path) == undisturbed
    assert seen == []
    record(tmp_path, num_samples=NUM_SAMPLES + 2, progress=lambda *report: seen.append(report))
    assert seen[-1] == (NUM_SAMPLES + 2, NUM_SAMPLES + 2, "")


def test_observables_of_a_store_are_those_of_its_configurations(tmp_path):
    sampler = CHAINS["replicas"]
    found = record(tmp_path, sampler)
    expected = jax.vmap(jax.vmap(ISING.observables))(jnp.asarray(found.read()))
    for start in (0, 6):
        seen = found.observe(ISING.observables, start)
        np.testing.assert_array_equal(seen.energy, expected.energy[:, start:])
    assert stats.summary(found.observe(ISING.observables).energy).mean.shape == ()
    with pytest.raises(ValueError, match="expected less than the 11 samples"):
        found.observe(ISING.observables, 11)


class Killed(BaseException):
    """No code of the library catches it, and no operation of files works after it."""


@contextlib.contextmanager
def dying(monkeypatch, at: int):
    """A context in which the process is as good as dead from the given operation on files on; counts them."""
    count = [0]

    def counted(fn):
        def call(*arguments, **keywords):
            count[0] += 1
            if count[0] > at:
                raise Killed
            return fn(*arguments, **keywords)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda opened: None)  # the process dies, not the machine
        for owner, names in ((os, ("replace", "link", "fsync", "mkdir", "unlink", "rmdir")), (shutil, ("rmtree",))):
            for name in names:
                patched.setattr(owner, name, counted(getattr(owner, name)))
        patched.setattr(pathlib.Path, "write_bytes", counted(pathlib.Path.write_bytes))
        patched.setattr(pathlib.Path, "write_text", counted(pathlib.Path.write_text))
        patched.setattr(tensorstore.TensorStore, "write", counted(tensorstore.TensorStore.write))
        yield count


def test_death_at_every_operation_on_files_changes_nothing(tmp_path, monkeypatch):
    few = 6  # the start and two commits
    with dying(monkeypatch, 10**6) as count:
        record(tmp_path / "whole", num_samples=few)
    num_operations, expected = count[0], contents(tmp_path / "whole")
    assert num_operations > 30
    for at in range(num_operations):
        folder = tmp_path / str(at)
        with dying(monkeypatch, at), pytest.raises(Killed):
            record(folder, num_samples=few)
        with dying(monkeypatch, at % 11), contextlib.suppress(Killed):  # dies once more, while it recovers
            record(folder, num_samples=few)
        with dying(monkeypatch, 10**6):
            record(folder, num_samples=few)
        assert contents(folder) == expected
        shutil.rmtree(folder)


KILLED_PROGRAM = """
import os, sys
from tests.samplers.test_recording import record
from jaxrg.store import sample_writer
write, left = sample_writer.write_once, int(sys.argv[2])
def write_once(path, content):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    write(path, content)
sample_writer.write_once = write_once
record(sys.argv[1])
"""


def test_a_killed_process_is_gone_on_with(tmp_path, undisturbed):
    command = [sys.executable, "-P", "-c", KILLED_PROGRAM, str(tmp_path / "store"), "2"]
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    died = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert died.returncode == -9, died.stderr
    assert sorted(path.name for path in (tmp_path / "store" / "samples").iterdir())[-2:] == ["00000002", "zarr.json"]
    assert store.SampleStore(tmp_path / "store").num_samples == PER_COMMIT
    record(tmp_path / "store")
    assert contents(tmp_path / "store") == undisturbed


OTHERS = {
    "model": (
        {"sampler": samplers.heat_bath(models.Ising(lattice.hypercubic((4, 6)), 0.41))},
        r"coupling 'float32 0\.4",
    ),
    "sampler": ({"sampler": samplers.metropolis(ISING)}, "sampler "),
    "shape": ({"sampler": samplers.heat_bath(models.Ising(lattice.hypercubic((6, 4)), 0.4))}, "shape"),
    "key": ({"key": jax.random.key(4)}, "keybits|key"),
    "start": ({"state": CHAINS["heat_bath"].init(jax.random.key(9))}, "start '"),
    "notes": ({"notes": {"temperature": 2.0}}, "temperature"),
    "stored": ({"is_spins": False}, "bits"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_chain_is_refused_by_what_differs(name, tmp_path, undisturbed):
    record(tmp_path)
    change, message = OTHERS[name]
    for call in (
        record,
        lambda folder, sampler=CHAINS["heat_bath"], key=KEY, **rest: samplers.verify(folder, key, sampler, **rest),
    ):
        with pytest.raises(store.FolderError, match=message):
            call(tmp_path, **change)
    assert contents(tmp_path) == undisturbed


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path, undisturbed):
    def second(*_):
        with pytest.raises(store.FolderError, match="one writer at a time, got"):
            record(tmp_path)

    record(tmp_path, progress=second)
    assert contents(tmp_path) == undisturbed


def test_what_is_added_while_a_store_is_read_is_no_damage(tmp_path, monkeypatch):
    record(tmp_path, num_samples=4)
    read, calls = records._read, []

    def added_to(path):
        content = read(path)
        if path.name == "zarr.json" and not calls:
            calls.append(path)
            record(tmp_path, num_samples=NUM_SAMPLES)
        return content

    monkeypatch.setattr(records, "_read", added_to)
    found = store.SampleStore(tmp_path)
    assert found.num_samples == found.read().shape[1] == 4
    assert store.SampleStore(tmp_path).num_samples == NUM_SAMPLES


def test_a_commit_of_another_process_is_never_replaced(tmp_path):
    path = tmp_path / "00000001.json"
    files.write_once(path, b"first")
    with pytest.raises(FileExistsError):
        files.write_once(path, b"second")
    assert contents(tmp_path) == {"00000001.json": b"first"}


def test_a_full_disk_loses_nothing(tmp_path):
    """A limit on the length of files fails inside TensorStore, as a full disk does."""
    folder, sampler = tmp_path / "store", CHAINS["replicas"]
    samplers.sample(folder, KEY, sampler, NUM_SAMPLES)
    before = contents(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"expected to commit to .*, got 'File too large'; what is committed is"):
            samplers.sample(folder, KEY, sampler, NUM_SAMPLES + 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(folder) == before
    assert samplers.verify(folder, KEY, sampler) == []


def test_what_is_no_spin_is_refused_and_can_be_stored_as_it_is(tmp_path):
    def threes(key, state):
        return state._replace(spins=jnp.full_like(state.spins, 3)), samplers.SpinInfo(jnp.float32(1), jnp.uint32(0))

    def start(key, spins=None):
        return samplers.SpinState(jnp.ones((3,), jnp.int8), jnp.uint32(0))

    sampler = samplers.from_kernel(start, threes, lambda fn, state: fn(state.spins))
    with pytest.raises(ValueError, match=r"expected spins \+1 and -1, got other values; give is_spins=False"):
        record(tmp_path / "bits", sampler)
    assert store.SampleStore(tmp_path / "bits").num_samples == 0
    found = record(tmp_path / "bytes", sampler, is_spins=False)
    np.testing.assert_array_equal(found.read(), np.full((1, NUM_SAMPLES, 3), 3, np.int8), strict=True)
    assert samplers.verify(tmp_path / "bytes", KEY, sampler, is_spins=False) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples: expected an integer >= 1"),
        ({"key": 3}, "key: expected a typed key"),
        ({"sampler": ISING}, "sampler: expected a Sampler"),
        ({"samples_per_commit": 0}, "samples_per_commit: expected an integer >= 1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        record(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_traced_chains_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected values, which go to a file, got traced ones"):
        jax.jit(lambda key: record(tmp_path / "new", key=key).num_samples)(KEY)


@pytest.mark.parametrize(
    "name", ["multispin", "heat_bath", *(pytest.param(name, marks=pytest.mark.slow) for name in ("replicas", "hmc"))]
)
def test_a_saved_state_goes_on_as_if_nothing_had_happened(name, tmp_path):
    sampler, file = CHAINS[name], tmp_path / "state.npz"
    state = samplers.run(KEY, sampler, sampler.init(jax.random.key(8)), 3).state
    samplers.save(file, state)
    loaded = samplers.load(file)
    assert type(loaded) is type(state)
    assert store.fingerprint(loaded) == store.fingerprint(state)
    after, expected = (samplers.run(KEY, sampler, s, 3).state for s in (loaded, state))
    assert store.fingerprint(after) == store.fingerprint(expected)
    with np.load(file) as plain:
        np.testing.assert_array_equal(plain["leaf_0000"], jax.tree.leaves(state)[0])


def test_any_tree_with_keys_is_saved_and_any_changed_bit_is_noticed(tmp_path):
    file = tmp_path / "state.npz"
    tree = {
        "keys": jax.random.split(jax.random.key(1), 2),
        "half": jnp.ones(3, jnp.bfloat16),
        "none": None,
        "n": [jnp.float32(1.5)],
    }
    samplers.save(file, tree)
    assert store.fingerprint(samplers.load(file)) == store.fingerprint(tree)
    double = np.array([1 + 1e-12])
    samplers.save(file, double)
    np.testing.assert_array_equal(samplers.load(file), double, strict=True)
    samplers.save(file, tree)
    content = file.read_bytes()
    samplers.save(file, tree)
    assert file.read_bytes() == content
    for bit in range(0, 8 * len(content), 101):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(store.DamagedError, match="expected what was saved"):
            samplers.load(file)
    file.write_bytes(content[:-1])
    with pytest.raises(store.DamagedError, match="expected what was saved"):
        samplers.load(file)


def test_what_a_user_keeps_in_the_folder_stays(tmp_path, undisturbed):
    folder = tmp_path / "store"
    record(folder, num_samples=5)
    kept = [folder / ".git" / "config", folder / "samples" / "notes.txt", folder / ".DS_Store"]
    left = [folder / "samples" / "00000009" / "zarr.json", folder / "states" / ".00000009.npz.partial.npz"]
    for path in [*kept, *left]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    record(folder, num_samples=5)
    assert all(path.read_text() == "mine" for path in kept)
    assert not any(path.exists() for path in left)


def test_states_of_a_potts_model_are_stored_as_they_are(tmp_path):
    sampler = samplers.heat_bath(models.Potts(lattice.hypercubic((4, 6)), 3, 0.5))
    found = record(tmp_path, sampler)
    assert not found.layout.is_packed
    assert set(np.unique(found.read())) == {0, 1, 2}
