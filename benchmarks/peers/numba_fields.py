"""What a physicist writes by hand: Hybrid Monte Carlo of a real field in numba, threads over rows.

The algorithm of `jaxrg.samplers.hmc` on one lattice: momenta by Box and Muller from one xorshift generator for each
row, the leapfrog with kicks and drifts in two passes, the change of the energy summed in double precision.
"""

import math

import numba
import numpy as np

from benchmarks.peers.xorshift import next_state


@numba.njit(parallel=True, fastmath=True, cache=False)
def _draw(momentum, states):
    rows, columns = momentum.shape
    unit = np.float32(2.0**-32)
    for row in numba.prange(rows):
        state = states[row]
        for column in range(0, columns, 2):
            state = next_state(state)
            radius = math.sqrt(np.float32(-2) * math.log(np.float32(state) * unit))
            state = next_state(state)
            angle = np.float32(2 * math.pi) * (np.float32(state) * unit)
            momentum[row, column] = radius * math.cos(angle)
            momentum[row, column + 1] = radius * math.sin(angle)
        states[row] = state


@numba.njit(parallel=True, fastmath=True, cache=False)
def _kick(field, momentum, mass_squared, quartic, size):
    rows, columns = field.shape
    stiffness = np.float32(2) * (np.float32(4) + mass_squared)
    for row in numba.prange(rows):
        above = field[row - 1 if row > 0 else rows - 1]
        below = field[row + 1 if row < rows - 1 else 0]
        here = field[row]
        kicked = momentum[row]
        last = columns - 1
        for column in range(1, last):  # apart from the ends, so that the loop is one of vectors
            x = here[column]
            around = above[column] + below[column] + here[column - 1] + here[column + 1]
            kicked[column] -= size * (stiffness * x - np.float32(2) * around + np.float32(4) * quartic * x * x * x)
        for column in (0, last):
            x = here[column]
            left, right = here[column - 1 if column > 0 else last], here[column + 1 if column < last else 0]
            around = above[column] + below[column] + left + right
            kicked[column] -= size * (stiffness * x - np.float32(2) * around + np.float32(4) * quartic * x * x * x)


@numba.njit(parallel=True, fastmath=True, cache=False)
def _drift(field, momentum, size):
    for row in numba.prange(field.shape[0]):
        for column in range(field.shape[1]):
            field[row, column] += size * momentum[row, column]


@numba.njit(parallel=True, fastmath=True, cache=False)
def _energy(field, momentum, mass_squared, quartic):
    rows, columns = field.shape
    total = 0.0
    for row in numba.prange(rows):
        below = field[row + 1 if row < rows - 1 else 0]
        here = field[row]
        of_row = 0.0
        for column in range(columns):
            x = here[column]
            right = here[column + 1 if column < columns - 1 else 0] - x
            down = below[column] - x
            kinetic = np.float32(0.5) * momentum[row, column] * momentum[row, column]
            of_row += kinetic + right * right + down * down + x * x * (mass_squared + quartic * x * x)
        total += of_row
    return total


class NumbaPhi4:
    """A field with the action of `jaxrg.models.Phi4` (kinetic 1) that moves itself by trajectories.

    Args:
        side: L, even.
        mass_squared: m².
        quartic: λ.
        seed: of the starting field and of the generators.
    """

    def __init__(self, side: int, mass_squared: float, quartic: float, *, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.couplings = np.float32(mass_squared), np.float32(quartic)
        self.field = (0.1 * self.generator.normal(size=(side, side))).astype(np.float32)
        self.momentum = np.empty_like(self.field)
        self.states = self.generator.integers(1, 2**32, size=side, dtype=np.uint32)
        self.accepted = 0

    def trajectories(self, number: int, step_size: float, num_leapfrog: int) -> None:
        size = np.float32(step_size)
        for _ in range(number):
            _draw(self.momentum, self.states)
            before, start = self.field.copy(), _energy(self.field, self.momentum, *self.couplings)
            _kick(self.field, self.momentum, *self.couplings, size / 2)
            for step in range(num_leapfrog):
                _drift(self.field, self.momentum, size)
                is_last = step == num_leapfrog - 1
                _kick(self.field, self.momentum, *self.couplings, size / 2 if is_last else size)
            change = _energy(self.field, self.momentum, *self.couplings) - start
            if self.generator.random() < math.exp(min(0.0, -change)):
                self.accepted += 1
            else:
                self.field = before
