"""Real and synthetic data without downloads, anyone's own images, and the corrupted copies that null models need."""

from jaxrg.datasets.corruption import (
    CorruptedLabels,
    corrupt_labels,
    shuffle_labels,
    shuffle_pixels,
    shuffle_pixels_per_sample,
)
from jaxrg.datasets.ellipses import ELLIPSE_LABELS, Ellipses, draw_ellipses, msds1, msds2
from jaxrg.datasets.folder import image_folder
from jaxrg.datasets.labelled_scenes import SCENE_CATEGORIES, SCENE_CONCEPTS, Scenes, scenes
from jaxrg.datasets.loaders import (
    FASHION_MNIST_FOLDER,
    Dataset,
    breast_cancer,
    digits,
    fashion_mnist,
    lfw_faces,
    mnist_5k,
)
from jaxrg.datasets.selection import select_classes, split

__all__ = [
    "ELLIPSE_LABELS",
    "FASHION_MNIST_FOLDER",
    "SCENE_CATEGORIES",
    "SCENE_CONCEPTS",
    "CorruptedLabels",
    "Dataset",
    "Ellipses",
    "Scenes",
    "breast_cancer",
    "corrupt_labels",
    "digits",
    "draw_ellipses",
    "fashion_mnist",
    "image_folder",
    "lfw_faces",
    "mnist_5k",
    "msds1",
    "msds2",
    "scenes",
    "select_classes",
    "shuffle_labels",
    "shuffle_pixels",
    "shuffle_pixels_per_sample",
    "split",
]
