"""What a physicist writes by hand: numba checkerboard heat baths of one lattice, int8, threads over rows.

The same algorithm as `jaxrg.samplers.multispin_heat_bath` on one chain: a table of probabilities, and one xorshift
generator for each row, so that the threads share nothing. A square lattice, the same with a sign for every bond, and a
cubic lattice.
"""

import numba
import numpy as np

from benchmarks.peers.xorshift import next_state


@numba.njit(parallel=True, fastmath=True, cache=False)
def _half_sweep(spins, states, table, colour):
    rows, columns = spins.shape
    for row in numba.prange(rows):
        above = spins[row - 1 if row > 0 else rows - 1]
        below = spins[row + 1 if row < rows - 1 else 0]
        here = spins[row]
        state = states[row]
        for column in range((row + colour) & 1, columns, 2):
            left = here[column - 1 if column > 0 else columns - 1]
            right = here[column + 1 if column < columns - 1 else 0]
            state = next_state(state)
            count = (above[column] + below[column] + left + right + 4) >> 1
            here[column] = 1 if state < table[count] else -1
        states[row] = state


@numba.njit(parallel=True, fastmath=True, cache=False)
def _glass_half_sweep(spins, down, across, states, table, colour):
    rows, columns = spins.shape
    for row in numba.prange(rows):
        before = row - 1 if row > 0 else rows - 1
        above, below = spins[before], spins[row + 1 if row < rows - 1 else 0]
        here, signs, signs_above, signs_below = spins[row], across[row], down[before], down[row]
        state = states[row]
        for column in range((row + colour) & 1, columns, 2):
            left = column - 1 if column > 0 else columns - 1
            right = column + 1 if column < columns - 1 else 0
            state = next_state(state)
            total = signs_above[column] * above[column] + signs_below[column] * below[column]
            total += signs[left] * here[left] + signs[column] * here[right]
            here[column] = 1 if state < table[(total + 4) >> 1] else -1
        states[row] = state


@numba.njit(parallel=True, fastmath=True, cache=False)
def _cube_half_sweep(spins, states, table, colour):
    layers, rows, columns = spins.shape
    for layer in numba.prange(layers):
        before, after = spins[layer - 1 if layer > 0 else layers - 1], spins[layer + 1 if layer < layers - 1 else 0]
        state = states[layer]
        for row in range(rows):
            here = spins[layer, row]
            above, below = (
                spins[layer, row - 1 if row > 0 else rows - 1],
                spins[layer, row + 1 if row < rows - 1 else 0],
            )
            front, back = before[row], after[row]
            for column in range((layer + row + colour) & 1, columns, 2):
                left = here[column - 1 if column > 0 else columns - 1]
                right = here[column + 1 if column < columns - 1 else 0]
                state = next_state(state)
                total = above[column] + below[column] + front[column] + back[column] + left + right
                here[column] = 1 if state < table[(total + 6) >> 1] else -1
        states[layer] = state


def _table(coupling: float, degree: int) -> np.ndarray:
    probability = 1 / (1 + np.exp(-2 * coupling * np.arange(-degree, degree + 1, 2)))
    return (probability * (2**32 - 1)).astype(np.uint32)


class NumbaIsing:
    """A lattice that sweeps itself in place.

    Args:
        side: L, even.
        coupling: K.
        seed: of the starting spins and of the generators.
    """

    num_dimensions = 2

    def __init__(self, side: int, coupling: float, *, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.spins = generator.choice(np.array([-1, 1], np.int8), size=(side,) * self.num_dimensions)
        self.states = generator.integers(1, 2**32, size=side, dtype=np.uint32)
        self.table = _table(coupling, 2 * self.num_dimensions)

    def half_sweep(self, colour: int) -> None:
        _half_sweep(self.spins, self.states, self.table, colour)

    def sweep(self, num_sweeps: int = 1) -> None:
        for _ in range(num_sweeps):
            for colour in range(2):
                self.half_sweep(colour)

    def energy(self) -> float:
        """Energy per site in units of J."""
        spins = self.spins.astype(np.int64)
        return -float(np.mean(spins * sum(np.roll(spins, 1, axis) for axis in range(spins.ndim))))


class NumbaCube(NumbaIsing):
    """The same of a cubic lattice."""

    num_dimensions = 3

    def half_sweep(self, colour: int) -> None:
        _cube_half_sweep(self.spins, self.states, self.table, colour)


class NumbaGlass(NumbaIsing):
    """The same of a square lattice with a sign for every bond.

    Args:
        bonds: ``[2, L, L]`` int8 of ±1, of the bonds from ``x`` to its neighbours below and to the right.
        coupling: K.
    """

    def __init__(self, bonds: np.ndarray, coupling: float, *, seed: int = 0) -> None:
        super().__init__(bonds.shape[-1], coupling, seed=seed)
        self.bonds = bonds

    def half_sweep(self, colour: int) -> None:
        _glass_half_sweep(self.spins, self.bonds[0], self.bonds[1], self.states, self.table, colour)

    def energy(self) -> float:
        """Energy per site in units of J."""
        spins = self.spins.astype(np.int64)
        return -float(np.mean(sum(self.bonds[axis] * spins * np.roll(spins, -1, axis) for axis in range(2))))
