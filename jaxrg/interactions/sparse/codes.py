"""Binary BCH codes: the subset of at most t of n players from the t log2(n) parities of its members."""

import itertools
from typing import NamedTuple

import numpy as np

from jaxrg.checks import check_count

# Primitive polynomials over the field of two elements, bit i the coefficient of x**i (tables of any coding text).
_PRIMITIVE = {2: 7, 3: 11, 4: 19, 5: 37, 6: 67, 7: 137, 8: 285, 9: 529, 10: 1033, 11: 2053, 12: 4179}


class Code(NamedTuple):
    """A parity-check matrix and its field."""

    checks: np.ndarray  # bool[t * m, n]; the parities of a subset are checks @ subset mod 2
    degree: int  # t
    powers: np.ndarray  # int[2 (2**m - 1)] of the primitive element
    logarithms: np.ndarray  # int[2**m]


def bch_code(num_players: int, degree: int) -> Code:
    """The code that tells all subsets of at most ``degree`` of ``num_players`` players, up to 4,095, apart.

    Reference:
        Bose & Ray-Chaudhuri, Inf. Control 3, 68 (1960); Hocquenghem, Chiffres 2, 147 (1959).
    """
    check_count("num_players", num_players)
    check_count("degree", degree)
    places = max((num_players).bit_length(), 2)
    if places not in _PRIMITIVE:
        raise ValueError(f"num_players: expected at most 4,095 players to decode, got {num_players:,}")
    order = 2**places - 1
    powers = np.ones(2 * order, int)
    for exponent in range(1, 2 * order):
        doubled = powers[exponent - 1] << 1
        powers[exponent] = doubled ^ _PRIMITIVE[places] if doubled >> places else doubled
    logarithms = np.zeros(order + 1, int)
    logarithms[powers[:order]] = np.arange(order)
    # Even power sums are squares of lower ones and tell nothing new.
    elements = [powers[(odd * np.arange(num_players)) % order] for odd in range(1, 2 * degree, 2)]
    checks = np.concatenate([(row >> np.arange(places)[:, None]) & 1 for row in elements]).astype(bool)
    return Code(checks, degree, powers, logarithms)


def _product(code: Code, first: int, second: int) -> int:
    return int(code.powers[code.logarithms[first] + code.logarithms[second]]) if first and second else 0


def _quotient(code: Code, first: int, second: int) -> int:
    order = len(code.powers) // 2
    return int(code.powers[code.logarithms[first] - code.logarithms[second] + order]) if first else 0


def _locator(code: Code, power_sums: list[int]) -> list[int]:
    """Shortest recurrence of the power sums (Berlekamp and Massey), lowest coefficient first."""
    current, previous, length, shift, scale = [1], [1], 0, 1, 1
    for index, power_sum in enumerate(power_sums):
        discrepancy = power_sum
        for step in range(1, min(length, len(current) - 1) + 1):
            discrepancy ^= _product(code, current[step], power_sums[index - step])
        if discrepancy == 0:
            shift += 1
            continue
        factor = _quotient(code, discrepancy, scale)
        update = [0] * shift + [_product(code, factor, entry) for entry in previous]
        following = [old ^ new for old, new in itertools.zip_longest(current, update, fillvalue=0)]
        if 2 * length <= index:
            previous, length, shift, scale = current, index + 1 - length, 1, discrepancy
        else:
            shift += 1
        current = following
    return current[: length + 1]


def decode(code: Code, parities: np.ndarray) -> np.ndarray | None:
    """The subset ``bool[n]`` of at most ``degree`` players with the parities ``bool[t * m]``; None if there is none.

    Example:
        >>> code = bch_code(10, 2)
        >>> subset = np.arange(10) % 7 == 1
        >>> np.flatnonzero(decode(code, code.checks @ subset.astype(int) % 2 == 1)).tolist()
        [1, 8]

    Reference:
        Berlekamp, Algebraic Coding Theory (1968); Massey, IEEE Trans. Inf. Theory 15, 122 (1969); Chien, IEEE Trans.
        Inf. Theory 10, 357 (1964).
    """
    num_players = code.checks.shape[1]
    bits = parities.reshape(code.degree, -1).astype(int)
    power_sums: list[int] = []
    for index, odd in enumerate((bits << np.arange(bits.shape[1])).sum(1).tolist()):
        power_sums.append(odd)
        half = power_sums[index]  # an even power sum is the square of the one of half its index
        power_sums.append(_product(code, half, half))
    locator = _locator(code, power_sums)
    order = len(code.powers) // 2
    values = np.full(num_players, locator[0])
    for exponent, entry in enumerate(locator[1:], start=1):
        if entry:
            turned = (code.logarithms[entry] - exponent * np.arange(num_players)) % order
            values ^= code.powers[turned]
    subset = values == 0
    if subset.sum() != len(locator) - 1 or subset.sum() > code.degree:
        return None
    # Beyond the code's distance the locator may be a wrong one.
    return subset if np.array_equal(code.checks @ subset.astype(int) % 2 == 1, parities) else None
