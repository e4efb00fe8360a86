"""The example of every docstring runs, once, with nothing in scope but JAX, NumPy and its own module."""

import doctest
import importlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrg

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(jaxrg.__path__, "jaxrg.") if not info.name.endswith("__main__")
)
PARSER = doctest.DocTestFinder(exclude_empty=True)


def examples_of(name: str) -> list[doctest.DocTest]:
    module = importlib.import_module(name)
    found = PARSER.find(module, name, extraglobs={"jax": jax, "jnp": jnp, "np": np})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in examples_of(name):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_no_example_is_missed():
    assert sum(len(examples_of(name)) for name in MODULES) > 100
