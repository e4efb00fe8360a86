r"""Sparse Walsh-Hadamard transform of functions of up to thousands of players, by aliasing and peeling.

A function on a random subspace of :math:`2^b` coalitions has a small transform, in which the coefficients that share
the parities of their subset along the subspace add up in one bin. Shifts of the subspace multiply each coefficient by a
sign, and the signs of a bin that holds a single coefficient are the parities of its subset under a BCH code. What is
found in one subspace is subtracted from the others, where it uncovers more.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from jaxrg.checks import as_array, as_count, as_floating
from jaxrg.interactions.games import check_values
from jaxrg.interactions.sparse.codes import Code, bch_code, decode
from jaxrg.interactions.sparse.terms import SparseFit, fit_of, host_generator
from jaxrg.transforms import walsh

MIN_PURITY = 0.5  # share of a bin's energy that its one subset must explain; two equal ones reach half
MAX_SWEEPS = 30
MIN_SIGNIFICANCE = 4.0  # standard errors of a coefficient that stays; under noise alone one in 16,000 does


class WalshDesign(NamedTuple):
    """Coalitions on shifted random subspaces, and what decoding them needs."""

    masks: np.ndarray  # bool[num_masks, n]: by subspace, repeat, shift and point, then the held-out coalitions
    subspaces: np.ndarray  # bool[C, n, b]
    shifts: np.ndarray  # bool[C, R, 1 + t * m, n]; the first of a repeat is a random offset, others add a check to it
    num_held_out: int  # coalitions for R²
    degree: int  # t, of the largest subsets that can be found


def _bits(generator: np.random.Generator, *shape: int) -> np.ndarray:
    return generator.random(shape) < 0.5


def _parities(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    # Counts of at most n <= 4,095 are exact in float32, whose products are fast.
    return (left.astype(np.float32) @ right.astype(np.float32)) % 2 == 1


def _signs(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return 1.0 - 2.0 * _parities(left, right)


def walsh_design(
    key: Array,
    num_players: int,
    budget: int,
    *,
    degree: int = 3,
    num_subspaces: int = 3,
    num_repeats: int = 1,
    num_held_out: int = 100,
) -> WalshDesign:
    """Coalitions for `recover_walsh`: the largest subspaces that the budget pays for.

    Args:
        key: typed JAX key.
        num_players: n, up to 4,095.
        budget: evaluations at most.
        degree: of the largest subsets that can be found.
        num_subspaces: independent hashes; with three, about 1.2 bins a coefficient suffice to peel them all.
        num_repeats: offsets, whose votes are added before a sign is read: more for noisy games.
        num_held_out: uniform coalitions for R².
    """
    num_players, budget = as_count("num_players", num_players), as_count("budget", budget)
    num_subspaces, num_repeats = as_count("num_subspaces", num_subspaces), as_count("num_repeats", num_repeats)
    num_held_out, degree = as_count("num_held_out", num_held_out, minimum=2), as_count("degree", degree)
    code = bch_code(num_players, degree)
    num_shifts = num_subspaces * num_repeats * (1 + len(code.checks))
    largest = (budget - num_held_out) // num_shifts
    if largest < 8:
        raise ValueError(
            f"budget: expected at least {8 * num_shifts + num_held_out:,} evaluations ({num_shifts} shifts of 8 "
            f"coalitions and {num_held_out} held out), got {budget:,}"
        )
    dimension = min(int(math.log2(largest)), num_players)
    generator = host_generator(key)
    subspaces = _bits(generator, num_subspaces, num_players, dimension)
    offsets = _bits(generator, num_subspaces, num_repeats, 1, num_players)
    checks = np.concatenate([np.zeros((1, num_players), bool), code.checks])
    shifts = offsets ^ checks
    points = (np.arange(2**dimension)[:, None] >> np.arange(dimension)) & 1 == 1
    lines = np.stack([_parities(points, subspace.T) for subspace in subspaces])
    # A set bit is an absent player: its spin is the sign.
    absent = lines[:, None, None] ^ shifts[:, :, :, None]
    masks = np.concatenate([~absent.reshape(-1, num_players), _bits(generator, num_held_out, num_players)])
    return WalshDesign(masks, subspaces, shifts, num_held_out, degree)


class _Bins:
    """Transforms of all subspaces, less the terms found so far."""

    def __init__(self, design: WalshDesign, code: Code, values: np.ndarray):
        groups, repeats, checks, _ = design.shifts.shape
        self.design, self.code = design, code
        shape = (groups, repeats * checks, -1)
        # The transform's spin is +1 where a bit is set, ours where it is not.
        points = values[: len(values) - design.num_held_out].reshape(shape)
        self.content = np.array(walsh(as_floating("values", np.flip(points, -1))))
        self.shifts = design.shifts.reshape(shape)
        self.found: dict[bytes, np.ndarray] = {}

    def bin_of(self, group: int, subset: np.ndarray) -> int:
        bits = _parities(subset, self.design.subspaces[group])
        return int((bits << np.arange(len(bits))).sum())

    def signs(self, group: int, subset: np.ndarray) -> np.ndarray:
        return _signs(self.shifts[group], subset)

    def subset_in(self, group: int, place: int) -> tuple[np.ndarray, float] | None:
        content = self.content[group, :, place]
        votes = content.reshape(self.design.shifts.shape[1:3])
        parities = (votes[:, :1] * votes[:, 1:]).sum(0) < 0
        subset = decode(self.code, parities)
        if subset is None or self.bin_of(group, subset) != place:
            return None
        coefficient = float(np.mean(content * self.signs(group, subset)))
        return (subset, coefficient) if coefficient**2 > MIN_PURITY * np.mean(content**2) else None

    def subtract(self, subset: np.ndarray, coefficient: float) -> None:
        self.found[subset.tobytes()] = subset
        for group in range(len(self.content)):
            self.content[group, :, self.bin_of(group, subset)] -= coefficient * self.signs(group, subset)

    def peel(self) -> None:
        # A bin at the rounding of the largest one holds nothing.
        smallest = 1e4 * np.finfo(self.content.dtype).eps ** 2 * float(np.mean(self.content**2, axis=1).max())
        for _ in range(MAX_SWEEPS):
            num_before = len(self.found)
            for group in range(len(self.content)):
                energies = np.mean(self.content[group] ** 2, axis=0)
                for place in np.flatnonzero(energies > smallest):
                    hit = self.subset_in(group, int(place))
                    if hit is not None:
                        self.subtract(*hit)
            if len(self.found) == num_before:
                return


def _refine(subsets: np.ndarray, masks: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares coefficients of the subsets, without those that noise explains."""
    while True:
        features = _signs(~masks, subsets.T)
        inverse = np.linalg.pinv(features.T @ features)
        coefficients = inverse @ (features.T @ values)
        missed = values - features @ coefficients
        variance = missed @ missed / max(len(values) - len(subsets), 1)
        floor = np.finfo(np.float32).eps * np.abs(coefficients).max(initial=0.0)
        errors = np.sqrt(variance * np.maximum(np.diag(inverse), 0))
        is_kept = np.abs(coefficients) > np.maximum(MIN_SIGNIFICANCE * errors, floor)
        if is_kept.all():
            return subsets, coefficients
        subsets = subsets[is_kept]


def recover_walsh(design: WalshDesign, values: Any) -> SparseFit:
    """Fourier coefficients of a function with few of them, from the values of a `walsh_design`.

    Peeling finds the subsets; least squares on all coalitions of the subspaces gives the coefficients, and drops those
    that noise explains. Runs on the host.

    Returns:
        A `SparseFit` of Fourier coefficients (`fourier_values`, `fourier_interactions`).

    Example:
        >>> design = walsh_design(jax.random.key(0), 40, 1000, degree=2)
        >>> signs = 2.0 * design.masks - 1
        >>> fit = recover_walsh(design, signs[:, 3] * signs[:, 30])
        >>> np.flatnonzero(fit.terms.subsets[0]).tolist(), fit.terms.coefficients.round(3).tolist()
        ([3, 30], [1.0])

    Reference:
        Li, Bradley, Pawar & Ramchandran, arXiv:1508.06336 (SPRIGHT); Kang et al., arXiv:2502.13870 (SPEX).
    """
    if not isinstance(design, WalshDesign):
        raise ValueError(f"design: expected a WalshDesign, got {type(design).__name__}")
    as_array("values", values)
    played = np.asarray(values, float)  # in the precision of the host
    check_values(played, len(design.masks))
    bins = _Bins(design, bch_code(design.masks.shape[1], design.degree), played)
    bins.peel()
    num_seen = len(played) - design.num_held_out
    subsets = np.stack([*bins.found.values()]) if bins.found else np.zeros((0, design.masks.shape[1]), bool)
    if len(subsets) >= num_seen // 2:
        subsets = subsets[:0]  # as many terms as coalitions: no sparse function was found
    subsets, coefficients = _refine(subsets, design.masks[:num_seen], played[:num_seen])
    predictions = _signs(~design.masks[num_seen:], subsets.T) @ coefficients
    return fit_of(subsets, coefficients, played[num_seen:], predictions, len(played))
