"""Runs ask for wide vectors where they are programs of their own, and for nothing elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.samplers.wide import Wide


def sizes(function: Wide) -> tuple[int, int]:
    return function.plain._cache_size(), function.wide._cache_size()


@pytest.fixture
def doubled(monkeypatch) -> Wide:
    monkeypatch.setenv("XLA_FLAGS", "")
    return Wide(lambda x: 2 * x)


def test_an_eager_call_is_wide_and_compiles_once(doubled):
    assert [float(doubled(jnp.float32(x))) for x in (1.0, 2.0)] == [2.0, 4.0]
    assert sizes(doubled) == (0, 1)


def test_a_width_of_the_user_stays(doubled, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=256")
    assert float(doubled(jnp.float32(3.0))) == 6.0
    assert sizes(doubled) == (1, 0)


TRANSFORMED = {
    "jit": lambda fn: jax.jit(fn)(3.0),
    "vmap": lambda fn: jax.vmap(fn)(jnp.array([3.0]))[0],
    "grad": lambda fn: 3 * jax.grad(fn)(3.0),
    "jvp": lambda fn: jax.jvp(fn, (3.0,), (3.0,))[1],
    "vmap of jit": lambda fn: jax.vmap(jax.jit(fn))(jnp.array([3.0]))[0],
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_under_a_transformation_it_asks_for_nothing(doubled, name):
    constant = jnp.float32(1.0)

    def of(x):
        doubled(constant)  # nothing traced goes in, and still the program around it is being traced
        return doubled(x)

    np.testing.assert_allclose(TRANSFORMED[name](of), 6.0)
    assert sizes(doubled)[1] == 0
