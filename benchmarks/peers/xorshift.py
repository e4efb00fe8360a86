"""The random numbers of the numba peers: Marsaglia's xorshift of 32 bits, one state a row: threads share none."""

import numba
import numpy as np


@numba.njit(inline="always")
def next_state(state):
    state ^= (state << np.uint32(13)) & np.uint32(0xFFFFFFFF)
    state ^= state >> np.uint32(17)
    state ^= (state << np.uint32(5)) & np.uint32(0xFFFFFFFF)
    return state
