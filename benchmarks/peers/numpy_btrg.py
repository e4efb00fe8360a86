"""What a physicist writes by hand: bond-weighted TRG of the critical Ising model in plain NumPy, products by BLAS.

The algorithm of `jaxrg.rg.tensor.btrg`, with legs that grow to χ, LAPACK's full decomposition and no derivative.
"""

import math

import numpy as np


def ising_log_partition(coupling: float, chi: int, num_steps: int, *, power: float = -0.5) -> float:
    """ln Z per site of a torus of 2^num_steps spins; power 0 is TRG without weights."""
    even, odd = math.sqrt(math.cosh(coupling)), math.sqrt(math.sinh(coupling))
    factor = np.array([[even, odd], [even, -odd]])
    tensor = np.einsum("sa,sb,sc,sd->abcd", factor, factor, factor, factor)
    weights = [np.ones(2), np.ones(2)]
    log_partition = 0.0
    for number in range(num_steps):
        norm = np.linalg.norm(tensor)
        tensor, log_partition = tensor / norm, log_partition + math.log(norm) / 2**number
        halves, weights_next = [], []
        shape = tensor.shape
        for matrix in (tensor, tensor.transpose(0, 3, 2, 1)):
            left, values, right = np.linalg.svd(matrix.reshape(shape[0] * shape[1], -1), full_matrices=False)
            rank = min(chi, int(np.sum(values > 1e-14 * values[0])))
            root = values[:rank] ** ((1 - power) / 2)
            halves += [(left[:, :rank] * root), (right[:rank].T * root)]
            weights_next.append(values[:rank] ** power)
        scaled = [half.reshape(shape[0], shape[1], -1) * np.sqrt(np.outer(*weights))[:, :, None] for half in halves]
        lower_right, upper_left, left_down, right_up = scaled  # by the two legs that they keep, of one tensor each
        upper = np.tensordot(upper_left, left_down, (0, 0)).transpose(0, 2, 1, 3)
        lower = np.tensordot(lower_right, right_up, (0, 0)).transpose(2, 0, 1, 3)
        size = upper.shape[0] * upper.shape[1]
        joined = upper.reshape(size, -1).T @ lower.reshape(size, -1)
        tensor = joined.reshape(*upper.shape[2:], *lower.shape[2:])
        weights = weights_next
    trace = np.einsum("abab,a,b->", tensor, *weights)
    return log_partition + math.log(trace) / 2**num_steps
