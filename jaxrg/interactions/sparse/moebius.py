r"""Exact recovery of games with few Möbius coefficients, of whatever degree, by deleting players.

While the residual of what is known is not zero on some coalition, players are dropped as long as it stays so. What is
left is a minimal unexplained subset T, and the residual on it is its coefficient I(T). No term is missed by chance, and
degree costs nothing: a term takes at most 2n evaluations, and about :math:`|T| \log_2 n` where it is small.
"""

import numpy as np
from jax import Array

from jaxrg.checks import as_count, check_number
from jaxrg.interactions.games import Game, check_game, check_values
from jaxrg.interactions.sparse.terms import SparseFit, fit_of, host_generator


class _BudgetSpent(Exception):
    pass


class _Residual:
    """The game less the terms found so far; a coalition is evaluated once."""

    def __init__(self, game: Game, budget: int, tolerance: float):
        self.game, self.budget, self.tolerance = game, budget, tolerance
        self.known: dict[bytes, float] = {}
        self.subsets = np.zeros((0, game.num_players), bool)
        self.coefficients = np.zeros(0)
        self.scale = 0.0

    def values(self, masks: np.ndarray) -> np.ndarray:
        new = {mask.tobytes(): mask for mask in masks if mask.tobytes() not in self.known}
        if len(self.known) + len(new) > self.budget:
            raise _BudgetSpent
        if new:
            played = np.asarray(self.game(np.stack(list(new.values()))), float)
            check_values(played, len(new))
            self.known.update(zip(new, played.tolist(), strict=True))
            self.scale = max(self.scale, float(np.abs(played).max()))
        return np.array([self.known[mask.tobytes()] for mask in masks])

    def explained(self, masks: np.ndarray) -> np.ndarray:
        is_subset = (~masks).astype(np.float32) @ self.subsets.T.astype(np.float32) == 0
        return is_subset.astype(float) @ self.coefficients

    def of(self, mask: np.ndarray) -> float:
        return float((self.values(mask[None]) - self.explained(mask[None]))[0])

    def is_unexplained(self, mask: np.ndarray) -> bool:
        return abs(self.of(mask)) > self.tolerance * max(self.scale, np.finfo(float).tiny)

    def add(self, mask: np.ndarray) -> None:
        self.coefficients = np.append(self.coefficients, self.of(mask))
        self.subsets = np.concatenate([self.subsets, mask[None]])


def _shrink(residual: _Residual, mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A minimal unexplained subset of an unexplained coalition."""
    mask = mask.copy()
    undecided = generator.permutation(np.flatnonzero(mask)).tolist()
    stride = 1
    while undecided:
        stride = min(stride, len(undecided))
        trial = mask.copy()
        trial[undecided[:stride]] = False
        if residual.is_unexplained(trial):
            mask, undecided, stride = trial, undecided[stride:], 2 * stride
        elif stride == 1:
            undecided = undecided[1:]  # this one is needed
        else:
            stride = max(stride // 2, 1)
    return mask


def recover_moebius(
    key: Array, game: Game, budget: int, *, num_held_out: int = 100, tolerance: float = 1e-9
) -> SparseFit:
    r"""Möbius coefficients of a game that is a sum of few unanimity games, up to n = 1,000 and of any degree.

    Exact, and known to be complete with the confidence of the held-out coalitions, if no two sums of coefficients
    cancel. A game that is not sparse spends the budget; its minimal terms found so far are returned, and a held-out R²
    well below one says so. The search asks one coalition after another and runs on the host.

    Args:
        key: typed JAX key.
        game: of NumPy arrays, in batches of any length.
        budget: distinct coalitions at most; the empty and the full one are among them.
        num_held_out: random coalitions, of uniformly random sizes, for the check of completeness and for R².
        tolerance: residuals below this share of the largest value are zero. The default is for games of float64
            precision; take 1e-5 for float32 and a few standard deviations for noise.

    Returns:
        A `SparseFit` of Möbius coefficients (`conjunction_values`, `conjunction_interactions`).

    Example:
        >>> pair = Game(lambda masks: 2.0 * masks[:, :2].all(1), 5)
        >>> fit = recover_moebius(jax.random.key(0), pair, 60, num_held_out=20)
        >>> fit.terms.subsets.tolist(), fit.terms.coefficients.tolist()
        ([[True, True, False, False, False]], [2.0])

    Reference:
        Schapire & Sellie, J. Comput. Syst. Sci. 52, 201 (1996) for sparse polynomials from queries; Kang et al.,
        NeurIPS 2024, arXiv:2402.02631, for sparse Möbius transforms by group testing.
    """
    num_players = check_game(game)
    num_held_out, budget = as_count("num_held_out", num_held_out, minimum=2), as_count("budget", budget)
    check_number("tolerance", tolerance, above=0)
    if budget < num_held_out + 3:
        raise ValueError(f"budget: expected more than the {num_held_out} held-out and 2 evaluations, got {budget}")
    generator = host_generator(key)
    residual = _Residual(game, budget, tolerance)
    shares = generator.random((num_held_out, 1))
    held_out = generator.random((num_held_out, num_players)) < shares
    full = np.ones(num_players, bool)
    values = residual.values(np.concatenate([held_out, ~full[None], full[None]]))[:num_held_out]
    try:
        if residual.is_unexplained(~full):
            residual.add(~full)
        # The full coalition misses nothing but exact cancellations, which the held-out coalitions would show.
        for candidate in [full, *held_out]:
            while residual.is_unexplained(candidate):
                residual.add(_shrink(residual, candidate, generator))
    except _BudgetSpent:
        pass
    predictions = residual.explained(held_out)
    return fit_of(residual.subsets, residual.coefficients, values, predictions, len(residual.known))
