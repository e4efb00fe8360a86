"""What a physicist writes by hand: the majority rule on a torus by a sum over all states, in plain NumPy."""

import numpy as np

CHUNK = 2**16  # states at a time


def states(first: int, count: int, shape: tuple[int, int]) -> np.ndarray:
    """``[count, *shape]`` spins ±1; site i is bit i of the number of a state."""
    index = np.arange(first, first + count)
    bits = (index[:, None] >> np.arange(shape[0] * shape[1]) & 1).astype(np.int8)
    return (2 * bits - 1).reshape(-1, *shape)


def operators(spins: np.ndarray) -> np.ndarray:
    """``[count, 3]`` sums over nearest neighbours, next-nearest ones and plaquettes."""
    down, right, diagonal = (np.roll(spins, step, (1, 2)) for step in ((1, 0), (0, 1), (1, 1)))
    products = [spins * (down + right), spins * diagonal + down * right, spins * down * right * diagonal]
    return np.stack([product.sum((1, 2)) for product in products], axis=1).astype(float)


def up_probabilities(spins: np.ndarray) -> np.ndarray:
    """``[num_blocks, count]`` of block spins of 2 x 2 sites, a half at ties."""
    count, rows, columns = spins.shape
    sums = spins.reshape(count, rows // 2, 2, columns // 2, 2).sum((2, 4)).reshape(count, -1)
    return (np.sign(sums).T + 1) / 2


def majority_couplings(couplings: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """K' of 2 x 2 blocks by least squares over the states of the blocks."""
    num_blocks, num_states = shape[0] * shape[1] // 4, 2 ** (shape[0] * shape[1])
    sums, largest = np.zeros(2**num_blocks), -np.inf
    for first in range(0, num_states, CHUNK):
        spins = states(first, min(CHUNK, num_states), shape)
        log_weights = operators(spins) @ couplings
        before, largest = largest, max(largest, log_weights.max())
        weights = np.exp(log_weights - largest)[None]
        for up in up_probabilities(spins)[::-1]:
            weights = np.stack([(1 - up) * weights, up * weights], axis=1).reshape(-1, len(up))
        sums = sums * np.exp(before - largest) + weights.sum(axis=1)
    blocks = states(0, 2**num_blocks, (shape[0] // 2, shape[1] // 2))
    design = np.concatenate([np.ones((len(blocks), 1)), operators(blocks)], axis=1)
    return np.linalg.lstsq(design, np.log(sums))[0][1:]
