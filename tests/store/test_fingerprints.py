"""Fingerprints tell different arrays and programs apart, and equal ones in any process do not differ."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

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
    ]
    assert len({store.fingerprint(tree) for tree in [base, *others]}) == 7
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
