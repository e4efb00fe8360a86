"""Fingerprints tell different arrays and programs apart, and equal ones in any process do not differ."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import store


def test_fingerprints_see_structure_shape_dtype_and_values():
    base = {"a": jnp.arange(6.0), "key": jax.random.key(0)}
    others = [
        {"b": base["a"], "key": base["key"]},
        base | {"a": base["a"].reshape(2, 3)},
        base | {"a": base["a"].astype(jnp.int32)},
        base | {"a": base["a"].at[5].set(-0.0)},
        base | {"key": jax.random.key(1)},
        base | {"a": None},
        base | {"key": jax.random.key(0, impl="rbg")},
    ]
    assert len({store.fingerprint(tree) for tree in [base, *others]}) == 8
    assert store.fingerprint(base) == store.fingerprint({"a": np.arange(6, dtype=np.float32), "key": base["key"]})


SHOW = """
import jax.numpy as jnp
from jaxrg import store
table = jnp.arange(4.0)
print(store.fingerprint({"a": table}), store.program_fingerprint(lambda x: x * table, table))
"""


def test_fingerprints_are_the_same_in_every_process():
    table = jnp.arange(4.0)
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONHASHSEED": "7"}
    shown = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True)
    here = store.fingerprint({"a": table}), store.program_fingerprint(lambda y: y * table, table)
    assert shown.stdout.split() == list(here)


def test_programs_differ_by_what_they_compute_and_what_they_hold():
    x = jnp.arange(3.0)
    one, two = jnp.ones(3), 2 * jnp.ones(3)
    programs = [lambda x: x + one, lambda x: x + two, lambda x: x - one, lambda x: x + 1]
    assert len({store.program_fingerprint(fn, x) for fn in programs}) == 4
    assert store.program_fingerprint(lambda z: z + one, x) == store.program_fingerprint(programs[0], x)
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    assert store.program_fingerprint(programs[0], shape) == store.program_fingerprint(programs[0], x)


def holders(value: float):
    """Programs that hold an array somewhere inside, by what holds it."""
    held, static = jnp.full(3, value), np.full(3, value, np.float32)
    inner = jax.jit(lambda x: x * held)
    return {
        "jit": inner,
        "jit of jit": jax.jit(lambda x: inner(x) + 1),
        "NumPy array in a jit": jax.jit(lambda x: x * static),
        "scan": lambda x: jax.lax.scan(lambda carry, _: (inner(carry), None), x, None, length=2)[0],
        "while": lambda x: jax.lax.while_loop(lambda carry: carry[0] < 0, inner, x),
        "cond": lambda x: jax.lax.cond(x[0] > 0, inner, lambda x: x, x),
        "checkpoint": jax.checkpoint(inner),
        "vmap": lambda x: jax.vmap(inner, in_axes=None, axis_size=2)(x),
        "gradient": jax.grad(lambda x: jnp.sum(inner(x) ** 2)),
        "callback": lambda x: jax.pure_callback(lambda x: x * static, jax.typeof(x), x),
        "number": jax.jit(lambda x: x * value),
    }


@pytest.mark.parametrize("name", holders(1.0))
def test_programs_differ_by_arrays_held_anywhere_inside(name):
    x = jnp.arange(3.0)
    found = [store.program_fingerprint(holders(value)[name], x) for value in (1.5, 1.5, 2.5)]
    assert found[0] == found[1] != found[2]


def test_what_programs_are_called_does_not_matter():
    def one(x):
        return x + 1

    def two(x):
        return x + 1

    x = jnp.arange(3.0)
    assert store.program_fingerprint(jax.jit(one), x) == store.program_fingerprint(jax.jit(two), x)
    # Nor does it whether JAX has traced a function before.
    twice = lambda x: jax.jit(one)(jax.jit(one)(x))  # noqa: E731
    before = store.program_fingerprint(twice, x)
    jax.clear_caches()
    assert store.program_fingerprint(twice, x) == before


def test_descriptions_are_words_by_path():
    described = store.describe({"rate": np.float32(0.1), "key": jax.random.key(0), "table": np.ones((2, 3), np.int8)})
    assert described["['rate']"] == "float32 0.1"
    assert described["['key']"].startswith("threefry2x32 key[2] with fingerprint ")
    assert described["['table']"].startswith("int8[2, 3] with fingerprint ")
