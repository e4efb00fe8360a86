"""What a physicist writes by hand: numba checkerboards of Potts states and of planar spins, threads over rows.

The same algorithms as `jaxrg.samplers.heat_bath` and `over_relaxation` on one lattice: a table of the weights of 0 to 4
equal neighbours; Best and Fisher's rejection for von Mises angles, each site until it accepts; one xorshift generator
for each row, so that the threads share nothing.
"""

import math

import numba
import numpy as np

from benchmarks.peers.xorshift import next_state


@numba.njit(parallel=True, fastmath=True, cache=False)
def _potts_half_sweep(spins, states, weights, num_states, colour):
    rows, columns = spins.shape
    for row in numba.prange(rows):
        above = spins[row - 1 if row > 0 else rows - 1]
        below = spins[row + 1 if row < rows - 1 else 0]
        here = spins[row]
        state = states[row]
        cumulated = np.empty(num_states, np.float32)
        for column in range((row + colour) & 1, columns, 2):
            left = here[column - 1 if column > 0 else columns - 1]
            right = here[column + 1 if column < columns - 1 else 0]
            total = np.float32(0)
            for value in range(num_states):
                count = (above[column] == value) + (below[column] == value) + (left == value) + (right == value)
                total += weights[count]
                cumulated[value] = total
            state = next_state(state)
            level = np.float32(state) * np.float32(2.0**-32) * total
            drawn = 0
            for value in range(num_states - 1):
                drawn += cumulated[value] <= level
            here[column] = drawn
        states[row] = state


class NumbaPotts:
    """A lattice of q states that sweeps itself in place.

    Args:
        side: L, even.
        num_states: q.
        coupling: K.
        seed: of the starting spins and of the generators.
    """

    def __init__(self, side: int, num_states: int, coupling: float, *, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.num_states = num_states
        self.spins = generator.integers(0, num_states, size=(side, side)).astype(np.int8)
        self.states = generator.integers(1, 2**32, size=side, dtype=np.uint32)
        self.weights = np.exp(coupling * np.arange(5)).astype(np.float32)

    def sweep(self, num_sweeps: int = 1) -> None:
        for _ in range(num_sweeps):
            for colour in range(2):
                _potts_half_sweep(self.spins, self.states, self.weights, self.num_states, colour)

    def energy(self) -> float:
        """Energy per site in units of J."""
        equal = [np.roll(self.spins, 1, axis) == self.spins for axis in (0, 1)]
        return -float(np.mean(equal[0]) + np.mean(equal[1]))


@numba.njit(parallel=True, fastmath=True, cache=False)
def _planar_half_sweep(angles, states, coupling, is_heat_bath, colour):
    rows, columns = angles.shape
    unit = np.float32(2.0**-32)
    for row in numba.prange(rows):
        above = angles[row - 1 if row > 0 else rows - 1]
        below = angles[row + 1 if row < rows - 1 else 0]
        here = angles[row]
        state = states[row]
        for column in range((row + colour) & 1, columns, 2):
            left = here[column - 1 if column > 0 else columns - 1]
            right = here[column + 1 if column < columns - 1 else 0]
            x = math.cos(above[column]) + math.cos(below[column]) + math.cos(left) + math.cos(right)
            y = math.sin(above[column]) + math.sin(below[column]) + math.sin(left) + math.sin(right)
            middle = math.atan2(y, x)
            if is_heat_bath:
                kappa = coupling * math.sqrt(x * x + y * y)
                r = (1 + math.sqrt(1 + 4 * kappa * kappa)) / (2 * kappa)
                while True:
                    state = next_state(state)
                    z = math.cos(math.pi * np.float32(state) * unit)
                    f = (1 + r * z) / (r + z)
                    c = kappa * (r - f)
                    state = next_state(state)
                    if np.float32(state) * unit < c * math.exp(1 - c):
                        break
                state = next_state(state)
                turn = math.acos(min(max(f, np.float32(-1)), np.float32(1)))
                angle = middle + (turn if state & np.uint32(1) else -turn)
            else:
                angle = 2 * middle - here[column]
            here[column] = angle - 2 * math.pi * np.round(angle / (2 * math.pi))
        states[row] = state


class NumbaXY:
    """A lattice of planar spins, as angles, that sweeps itself in place; arguments as of `NumbaPotts`."""

    def __init__(self, side: int, coupling: float, *, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.coupling = np.float32(coupling)
        self.angles = generator.uniform(-np.pi, np.pi, size=(side, side)).astype(np.float32)
        self.states = generator.integers(1, 2**32, size=side, dtype=np.uint32)

    def sweep(self, num_over_relaxations: int = 1) -> None:
        """Some over-relaxations, then a heat bath."""
        for number in range(num_over_relaxations + 1):
            for colour in range(2):
                is_heat_bath = number == num_over_relaxations
                _planar_half_sweep(self.angles, self.states, self.coupling, is_heat_bath, colour)

    def energy(self) -> float:
        """Energy per site in units of J."""
        turns = [np.cos(np.roll(self.angles, 1, axis) - self.angles) for axis in (0, 1)]
        return -float(np.mean(turns[0]) + np.mean(turns[1]))
