"""What an optimal compressed variable keeps are the most relevant operators: checked on whole columns, exactly."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import exact, tables
from jaxrg.rg import information

K = float(exact.critical_coupling)


def column_table(width: int, buffer: int, *, num_sides: int = 2, is_even: bool = False) -> Array:
    """P(v, e) of a whole column; where it is even, of a column without its sign."""
    table = information.strip_joint(K, width, (1, width), buffer, num_sides=num_sides)
    half = len(table) // 2  # a state and the one with all spins turned are at i and -1 - i
    return table[:half] + table[half:][::-1] if is_even else table


def dimensions(width: int, buffer: int, *, is_even: bool) -> np.ndarray:
    """x of the two leading functions of a column, by what one column at that distance knows."""
    table = column_table(width, buffer, num_sides=1, is_even=is_even)
    found = information.relevant_functions(table, 2).correlations
    return -width / (2 * np.pi * (buffer + 1)) * np.log(np.asarray(found))


def informations(width: int, buffers: range, *, num_sides: int, is_even: bool) -> np.ndarray:
    """I(V; E) against the buffer."""
    options = {"num_sides": num_sides, "is_even": is_even}
    return np.array([float(information.filter_information(column_table(width, b, **options))) for b in buffers])


def decay(width: int, values: np.ndarray) -> np.ndarray:
    """x between neighbouring buffers, of I falling as exp(-4 pi x b / W)."""
    return -width / (4 * np.pi) * np.diff(np.log(values))


class Best(NamedTuple):
    """The best of all functions of a column with values +-1, beside those that ask for one number alone."""

    information: float
    of_leading: float  # information of the best threshold of the most relevant function
    of_next: float  # and of the next one


@jax.jit
def _kept(coarse: Array, table: Array) -> Array:
    """``[functions]`` information of functions ``[functions, states]``, 1 where h is +1."""
    one = lambda up: information.filter_information(table, jnp.stack([1 - up, up], axis=1))  # noqa: E731
    return jax.lax.map(one, coarse, batch_size=256)


def best_binary(width: int, buffer: int, *, is_even: bool) -> Best:
    """Of all 2^(states - 1) functions: the first state has always the value -1, as the sign of h is nothing."""
    table = column_table(width, buffer, is_even=is_even)
    functions = np.asarray(tables.all_bits(len(table) - 1), float)
    every = _kept(jnp.asarray(np.pad(functions, ((0, 0), (1, 0)))), table)
    alone = []
    for function in np.asarray(information.relevant_functions(table, 2).visible):
        steps = np.unique(np.round(function, 9))
        above = function > ((steps[1:] + steps[:-1]) / 2)[:, None]
        alone.append(float(_kept(jnp.asarray(above, float), table).max()))
    return Best(float(every.max()), *alone)
