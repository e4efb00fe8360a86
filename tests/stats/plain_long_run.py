"""The long-run variance of one observable in plain loops of NumPy, for comparison."""

from typing import NamedTuple

import numpy as np


class Plain(NamedTuple):
    """Of ``[chains, samples]``."""

    constant: float
    tau_int: float
    num_degrees_of_freedom: float
    r_hat: float


def autoregression(series: np.ndarray) -> np.ndarray:
    """Coefficients of every order up to 8 from the Yule-Walker equations; the order by a criterion like Akaike's."""
    num_blocks, total = series.shape[1], series.size
    gamma = [(series[:, : num_blocks - k] * series[:, k:]).sum() / total for k in range(9)]
    best, filters = np.inf, np.ones(1)
    for order in range(min(8, num_blocks // 4) + 1):
        matrix = np.array([[gamma[abs(i - j)] for j in range(order)] for i in range(order)]).reshape(order, order)
        right = np.array(gamma[1 : order + 1])
        a = np.linalg.solve(matrix, right) if order else right
        criterion = total * np.log(gamma[0] - a @ right) + 3 * order
        if criterion < best:
            best, filters = criterion, np.concatenate([[1.0], -a])
    return filters


def r_hat_of(halves: np.ndarray) -> float:
    length = halves.shape[1]
    within = halves.var(axis=1, ddof=1).mean()
    return np.sqrt((length - 1) / length + halves.mean(axis=1).var(ddof=1) / within)


def plain_long_run(chains: np.ndarray) -> Plain:
    num_chains, num_samples = chains.shape
    total = chains.size
    deviations = chains - chains.mean()
    blocks = min(num_samples, max(-(-max(256, int(4 * total**0.5)) // num_chains), 4))
    length = num_samples // blocks
    whole = deviations[:, num_samples % length :]
    variance = (whole**2).mean()
    cut = whole.reshape(num_chains, -1, length).mean(-1)
    series = cut * np.sqrt(length / variance)
    num_blocks = series.shape[1]
    filters = autoregression(series)
    powers, gain = np.arange(len(filters)), max(filters.sum(), 0.02)

    def ordinate(k: int) -> float:
        wave = np.exp(-2j * np.pi * k * np.arange(num_blocks) / num_blocks)
        power = np.mean(np.abs(series @ wave) ** 2) / num_blocks
        return power * np.abs(filters @ np.exp(-2j * np.pi * k / num_blocks * powers)) ** 2 / gain**2

    ordinates = [ordinate(k) for k in range(1, (num_blocks - 1) // 2 + 1)]
    between = (series.sum(1) ** 2).sum() / num_blocks / max(num_chains - 1, 1)

    def average(degrees: float) -> tuple[float, int]:
        count = int(np.clip(np.ceil((degrees - num_chains + 1) / (2 * num_chains)), num_chains == 1, len(ordinates)))
        used = 2 * num_chains * count + num_chains - 1
        return (2 * num_chains * sum(ordinates[:count]) + (num_chains - 1) * between) / used, used

    curvature = ((powers @ filters) / gain) ** 2 - (powers**2 @ filters) / gain
    seen = np.sqrt(max(curvature, 0))  # in blocks
    slow = max(0.05, average(48)[0] / 2, seen * length)
    wanted = 48 if average(48)[0] < 0.5 else max(48, total / (50 * slow))
    constant, degrees = average(wanted)
    degrees = 2 / (2 / degrees + 4 * (1 + 2 * seen) / series.size)
    kept = deviations[:, num_samples % length :]  # whole blocks
    half = num_blocks // 2 * length
    halves = np.concatenate([kept[:, :half], kept[:, -half:]])
    r_hat = max(r_hat_of(halves), r_hat_of(np.abs(halves)))
    return Plain(constant * variance, constant / (2 * (1 + constant / total)), degrees, r_hat)
