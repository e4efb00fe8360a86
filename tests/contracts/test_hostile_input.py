"""Hostile input to every public function: the right answer, or an error in words that names the argument.

Numbers that come as lists, NumPy arrays, integers, booleans or in half precision give what the same numbers give as
float32. NaN stays NaN. What a function cannot take is refused by jaxrg itself: the error is raised in jaxrg, not below.
"""

import functools
import pathlib
import tempfile
import traceback
import zlib
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, configuration, given, settings
from hypothesis import strategies as st

import jaxrg
from benchmarks.calls import Call, calls_of, rooms

configuration.set_hypothesis_home_dir(pathlib.Path(tempfile.gettempdir(), "hypothesis"))  # not in the tree
PACKAGE = str(pathlib.Path(jaxrg.__file__).parent)
CALLS = [row for room in rooms() for row in calls_of(room)]

SAME = {  # the same numbers in another form
    "list": lambda x: x.tolist(),
    "numpy": lambda x: x,
    "float64": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "bfloat16": lambda x: jnp.asarray(x).astype(jnp.bfloat16),
    "int32": lambda x: x.astype(np.int32),
    "int64": lambda x: x.astype(np.int64),
    "int8": lambda x: jnp.asarray(x).astype(jnp.int8),
    "bool": lambda x: x.astype(bool),
}
OTHER = {  # other numbers, or none
    "nan": lambda x: np.where(np.arange(x.size).reshape(x.shape) == x.size // 2, np.nan, x).astype(x.dtype),
    "infinite": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 0, np.inf, x).astype(x.dtype),
    "empty": lambda x: x[..., :0],
    "one": lambda x: x[..., :1],
    "two": lambda x: x[..., :2],
    "lost axis": lambda x: x[0],
    "new axis": lambda x: x[None],
    "complex": lambda x: x.astype(np.complex64),
    "string": lambda x: "0.5",
    "none": lambda x: None,
    "object": lambda x: object(),
    "ragged": lambda x: [[1.0], [1.0, 2.0]],
}
COUNTS = {"zero": 0, "negative": -1, "fraction": 1.5, "true": True, "words": "3", "nothing": None}


def is_floating(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray) and jnp.issubdtype(value.dtype, jnp.floating)


def kinds(value: Any) -> list[str]:
    """What can be done to an argument."""
    if is_floating(value):
        forms = [name for name in SAME if name != "bool" or set(np.unique(value)) <= {0, 1}]
        return forms + [name for name in OTHER if value.ndim or name not in ("empty", "one", "two", "lost axis")]
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return ["integer key", "raw key"]
    if isinstance(value, int) and not isinstance(value, bool):
        return ["numpy integer", *COUNTS]
    if callable(value) and not jax.tree.leaves(value, is_leaf=is_floating)[1:]:
        return ["no function"]
    return []


def changed(value: Any, kind: str) -> tuple[Any, Any]:
    """The hostile argument, and the plain one that has to give the same answer, or None."""
    if kind in SAME:
        host = np.asarray(value, np.float32)
        hostile = SAME[kind](host)
        return hostile, jnp.asarray(np.asarray(hostile).astype(np.float32))
    if kind in OTHER:
        return OTHER[kind](np.asarray(value)), None
    if kind == "numpy integer":
        return np.int64(value), value
    if kind in COUNTS:
        return COUNTS[kind], None
    return {"integer key": 0, "raw key": jnp.zeros(2, jnp.uint32), "no function": 3}[kind], None


def outcome(row: Call, arguments: dict[str, Any]) -> tuple[Any, str]:
    """The answer, or how jaxrg refuses; whatever else is raised is a failure."""
    try:
        return row(arguments), ""
    except (ValueError, FloatingPointError) as raised:
        error = raised
    where = traceback.extract_tb(error.__traceback__)[-1].filename
    assert where.startswith(PACKAGE), f"expected an error of jaxrg, got one of {where}: {error}"
    return None, f"{type(error).__name__}: {error}"


def floats(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree) if is_floating(leaf)]


def numbers(tree: Any) -> list[np.ndarray]:
    """All numbers of an answer, whose integers may stay what they are."""
    arrays = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array | np.ndarray)]
    arrays = [array for array in arrays if getattr(array.dtype, "kind", "") != "U"]  # as labels are
    is_key = [jnp.issubdtype(array.dtype, jax.dtypes.prng_key) for array in arrays]
    hosts = [np.asarray(array) for array, key in zip(arrays, is_key, strict=True) if not key]
    return [np.asarray([host.real, host.imag] if np.iscomplexobj(host) else host, np.float64) for host in hosts]


def check(row: Call, name: str, kind: str) -> None:
    arguments = row.arguments(0)
    hostile, plain = changed(arguments[name], kind)
    answer, refusal = outcome(row, arguments | {name: hostile})
    if refusal:
        assert "expected" in refusal, f"a refusal says what was expected: {refusal}"
        return
    if plain is not None:
        expected, plain_refusal = outcome(row, arguments | {name: plain})
        assert not plain_refusal, f"as float32 these numbers are refused: {plain_refusal}"
        chex.assert_trees_all_close(numbers(answer), numbers(expected), rtol=2e-3, atol=1e-5)
    elif kind == "nan":
        parts = floats(answer)
        assert not parts or any(not np.all(np.isfinite(part)) for part in parts), "NaN went in, no NaN came out"


@functools.cache
def pairs_of(row: Call) -> list[tuple[str, str]]:
    """Every argument of a call with all that can be done to it; made when a test asks, since arguments are computed."""
    arguments = row.arguments(0).items()
    return [(name, kind) for name, value in arguments if name not in row.sealed for kind in kinds(value)]


@settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(row=st.sampled_from(CALLS), number=st.integers(0, 2**16))
def test_some_hostile_arguments_of_all_functions(row, number):
    if pairs := pairs_of(row):
        check(row, *pairs[number % len(pairs)])


# All of them take three quarters of an hour: every twenty-fourth among the slow tests, the others before a release.
# Where to begin depends on the name alone: a new function does not change what is tried of the others.
EVERY = 24
ROWS = [pytest.param(row, zlib.crc32(row.name.encode()) % EVERY, id=row.name) for row in CALLS]


@pytest.mark.slow
@pytest.mark.parametrize(("row", "turn"), ROWS)
def test_every_twenty_fourth_hostile_argument(row: Call, turn: int, subtests):
    for name, kind in pairs_of(row)[turn::EVERY]:
        with subtests.test(argument=name, kind=kind):
            check(row, name, kind)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("row", "turn"), ROWS)
def test_the_other_hostile_arguments(row: Call, turn: int, subtests):
    for number, (name, kind) in enumerate(pairs_of(row)):
        if number % EVERY != turn:
            with subtests.test(argument=name, kind=kind):
                check(row, name, kind)
