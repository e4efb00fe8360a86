"""What the study of transfer compares: means over seeds and images with bootstrap errors, changes, correlations."""

from typing import NamedTuple

import numpy as np
from _attack_steps import METHODS

FEWEST = 0.2  # of the images must reach the level of strength, or an attack is too weak to be compared
NUM_DRAWS = 400  # of the bootstrap


def spread(draws: np.ndarray) -> np.ndarray:
    """The error of an estimate ``draws[0]``: the spread of those that follow, without draws that hold no image."""
    kept, known = draws[1:], np.isfinite(draws[1:])
    with np.errstate(invalid="ignore"):  # no draw left: NaN
        mean = np.where(known, kept, 0).sum(0) / known.sum(0)
        return np.sqrt((np.where(known, kept - mean, 0) ** 2).sum(0) / known.sum(0))


class Comparison(NamedTuple):
    """Attacks of one direction at one budget or strength, and how they differ from the plain one.

    ``means[key]`` and ``changes[key]`` are ``[1 + draws, attacks]``: first the estimate, then bootstrap draws of seeds
    and of images within each. Changes are of the images on which the attack and the plain one are both compared.
    """

    names: tuple[str, ...]
    means: dict[str, np.ndarray]
    changes: dict[str, np.ndarray]

    def of(self, which: str, key: str, name: str) -> tuple[float, float]:
        """Estimate and error."""
        values = getattr(self, which)[key][:, self.names.index(name)]
        return float(values[0]), float(spread(values))

    def twelve(self) -> list[int]:
        """Columns of the published ways that are strong enough."""
        share = self.means["compared"][0]
        return [i for i, name in enumerate(self.names) if name in METHODS and share[i] >= FEWEST]


def compare(found: dict[str, dict[str, np.ndarray]]) -> Comparison:
    """Of columns ``[seeds, images]``."""
    random, (num_seeds, num_images) = np.random.default_rng(0), found["plain"]["target"].shape
    counts = np.ones((1 + NUM_DRAWS, num_seeds, num_images))
    for draw in counts[1:]:
        draw[:] = 0
        for seed in random.integers(num_seeds, size=num_seeds):
            draw[seed] += np.bincount(random.integers(num_images, size=num_images), minlength=num_images)

    def mean(values, is_compared):
        with np.errstate(invalid="ignore"):  # none compared: NaN
            return (counts * (is_compared * values)).sum((1, 2)) / (counts * is_compared).sum((1, 2))

    means: dict[str, list] = {key: [] for key in found["plain"]}
    changes: dict[str, list] = {key: [] for key in found["plain"]}
    for columns in found.values():
        both = columns["compared"] & found["plain"]["compared"]
        for key, values in columns.items():
            kept = np.ones_like(both) if key == "compared" else columns["compared"]
            means[key].append(mean(values.astype(float), kept))
            changes[key].append(mean(values.astype(float) - found["plain"][key], both))
    stack = lambda columns: {key: np.stack(values, 1) for key, values in columns.items()}  # noqa: E731
    return Comparison(tuple(found), stack(means), stack(changes))


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of the rows of two arrays ``[draws, attacks]``; NaN where one of them is constant."""
    with np.errstate(invalid="ignore"):
        first, second = (values - values.sum(1, keepdims=True) / values.shape[1] for values in (first, second))
        return (first * second).sum(1) / np.sqrt((first**2).sum(1) * (second**2).sum(1))


class Shuffled(NamedTuple):
    """What the correlation would be if the ways had nothing to do with their interaction."""

    width: float
    share_as_far: float  # of shuffles at least as far from zero: a p-value


def shuffle(first: np.ndarray, second: np.ndarray, num_shuffles: int = 2000) -> Shuffled:
    random = np.random.default_rng(1)
    order = np.argsort(random.random((num_shuffles, len(second))), axis=1)
    null = correlations(np.broadcast_to(first, order.shape), second[order])
    measured = correlations(first[None], second[None])[0]
    return Shuffled(float(null.std()), float(np.mean(np.abs(null) >= np.abs(measured) - 1e-9)))
