"""A Wolff chain of the Ising model on a square lattice, hand-written for numba: xorshift numbers and a stack."""

import numba
import numpy as np


@numba.njit(cache=True)
def _clusters(spins, stack, state, probability, num_clusters):
    """Flip so many clusters; the number of spins flipped."""
    side = spins.shape[0]
    threshold = np.uint64(probability * 2.0**63) << np.uint64(1)
    flipped = 0
    for _ in range(num_clusters):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        seed = np.int64(state % np.uint64(side * side))
        sign = spins[seed // side, seed % side]
        spins[seed // side, seed % side] = -sign
        stack[0], top = seed, 1
        while top > 0:
            top -= 1
            site = stack[top]
            flipped += 1
            x, y = site // side, site % side
            for direction in range(4):
                i, j = x, y
                if direction == 0:
                    i = x + 1 if x + 1 < side else 0
                elif direction == 1:
                    i = x - 1 if x > 0 else side - 1
                elif direction == 2:
                    j = y + 1 if y + 1 < side else 0
                else:
                    j = y - 1 if y > 0 else side - 1
                if spins[i, j] == sign:
                    state ^= state << np.uint64(13)
                    state ^= state >> np.uint64(7)
                    state ^= state << np.uint64(17)
                    if state < threshold:
                        spins[i, j] = -sign
                        stack[top] = i * side + j
                        top += 1
    return flipped, state


class NumbaWolff:
    """A chain that starts ordered and goes on from where it was, on one core."""

    def __init__(self, side: int, coupling: float) -> None:
        self.spins = np.ones((side, side), np.int8)
        self.stack = np.empty(side * side, np.int64)
        self.state = np.uint64(0x9E3779B97F4A7C15)
        self.probability = 1 - np.exp(-2 * coupling)

    def clusters(self, num_clusters: int) -> int:
        """Flip so many clusters; the number of spins flipped."""
        flipped, self.state = _clusters(self.spins, self.stack, self.state, self.probability, num_clusters)
        self.state = np.uint64(self.state)
        return flipped
