"""Other programs read a sample store: plain Zarr, xarray and ArviZ; and layouts of every kind come back."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers, store
from jaxrg.store import layout
from jaxrg.store.layout import Layout
from jaxrg.store.sample_writer import SampleWriter

ISING = models.Ising(lattice.hypercubic((4, 6)), 0.4)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    sampler = samplers.replicas(samplers.heat_bath(ISING), 3)
    return samplers.sample(folder, jax.random.key(3), sampler, 11, samples_per_commit=4, notes={"T": 2.5})


def test_plain_zarr_reads_the_words_and_any_flipped_bit_is_an_error(found):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(found.folder / "samples", mode="r")
    assert group.attrs["num_samples"] == 11
    arrays = [group[f"{record.number:08d}"] for record in found.records[1:]]
    words = np.concatenate([array[:] for array in arrays], axis=1)
    bits = words[..., np.arange(24) // 32] >> (np.arange(24) % 32).astype(np.uint32) & 1
    np.testing.assert_array_equal(2 * bits.astype(np.int8).reshape(3, 11, 4, 6) - 1, found.read())
    path = found.folder / "samples" / "00000002" / "c.0.0.0"
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    try:
        with pytest.raises(Exception, match=r"(?i)checksum"):
            arrays[1][:]
    finally:
        path.write_bytes(content)


def test_a_datatree_has_chains_and_draws(found):
    pytest.importorskip("xarray")
    tree = store.as_datatree(found)
    configuration = tree["posterior"]["configuration"]
    assert configuration.sizes == {"chain": 3, "draw": 11, "x0": 4, "x1": 6}
    np.testing.assert_array_equal(configuration.values, found.read(), strict=True)
    seen = store.as_datatree(found, ISING.observables)["posterior"]
    expected = found.observe(ISING.observables)
    assert set(seen.data_vars) == {"energy", "magnetization"}
    np.testing.assert_array_equal(seen["energy"].values, expected.energy)
    assert seen["energy"].dims == ("chain", "draw")
    pairs = store.as_datatree(found, lambda spins: {"pair": spins[0, :2], "one": [spins[0, 0]]})["posterior"]
    assert pairs["pair"].dims == ("chain", "draw", "pair_dim_0")
    np.testing.assert_array_equal(pairs["one.0"].values, found.read()[..., 0, 0])
    assert '"T": 2.5' in seen.attrs["notes"]


def test_arviz_takes_it(found):
    arviz = pytest.importorskip("arviz", minversion="1.0")
    summary = arviz.summary(store.as_datatree(found, ISING.observables))
    assert set(summary.index) == {"energy", "magnetization"}


def test_without_xarray_the_error_says_what_to_install(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ModuleNotFoundError, match=r"expected pip install 'jaxrg\[store\]'"):
        store.as_datatree(found)


def spins(key, shape):
    return np.asarray(jax.random.rademacher(key, shape, jnp.int8))


LAYOUTS = {
    "one spin": Layout(1, (), "int8", True),
    "a ring of 33": Layout(2, (33,), "int8", True),
    "spins as floats": Layout(3, (2, 3, 5), "float32", True),
    "fields": Layout(2, (5, 3), "float32", False),
    "complex numbers": Layout(2, (5,), "complex64", False),
    "truths": Layout(1, (7,), "bool", False),
    "half precision": Layout(1, (7,), "bfloat16", False),
    "numbers": Layout(1, (), "float32", False),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("chunk_bytes", [8, 2**22])
def test_every_layout_comes_back_whatever_its_chunks(name, chunk_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "CHUNK_BYTES", chunk_bytes)
    kind = LAYOUTS[name]
    assert Layout.from_json(kind.as_json()) == kind
    run = store.RunFolder(tmp_path, {"values": kind.as_json()})
    run.claim()
    writer = SampleWriter(tmp_path, kind)
    writer.append(None, {}, 0)
    values = spins(jax.random.key(1), (kind.num_chains, 7, *kind.shape)).astype(jnp.dtype(kind.dtype))
    writer.append(kind.words(values[:, :4]), {}, 4)
    writer.append(kind.words(values[:, 4:]), {}, 7)
    found = store.SampleStore(tmp_path)
    np.testing.assert_array_equal(found.read(), values, strict=True)
    np.testing.assert_array_equal(found.read(3, 5), values[:, 3:5], strict=True)
    num_chunks = len(list((tmp_path / "samples/00000001").glob("c.*"))) if chunk_bytes == 8 else 0
    if name == "a ring of 33":  # two chains of two words
        assert (kind.item_shape, kind.chunk) == ((2,), [1, 2] if chunk_bytes == 8 else [2, 2])
        assert num_chunks in (0, 2)


def test_what_is_no_spin_or_has_another_shape_is_refused():
    kind = Layout(2, (3,), "int8", True)
    with pytest.raises(ValueError, match="expected spins \\+1 and -1"):
        kind.words(np.zeros((2, 1, 3), np.int8))
    with pytest.raises(ValueError, match="expected shape"):
        kind.words(np.ones((2, 1, 4), np.int8))
