"""What users give as arrays of the values they meant, or refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import checks


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        (1.0, 2.0),
        np.array([1, 2], np.int64),
        np.array([1, 2], np.uint8),
        np.array([1, 2], np.float64),
        np.array([1, 2], np.float16),
        jnp.array([1, 2], jnp.bfloat16),
        [np.float32(1), 2],
    ],
)
def test_values_become_floats(value) -> None:
    array = checks.as_floating("x", value)
    assert array.dtype == jnp.float32
    assert not array.weak_type
    np.testing.assert_array_equal(array, [1, 2])


def test_what_is_seen_in_a_trace_and_in_double_precision(x64: None) -> None:
    assert checks.as_floating("x", np.float64(1e-300)) == 1e-300
    assert checks.as_floating("x", 2**40) == 2.0**40
    assert jax.jit(lambda x: checks.as_floating("x", [x, 1.0]))(2.0).shape == (2,)
    np.testing.assert_array_equal(checks.as_floating("x", True), 1.0)


def test_integers_that_do_not_fit_are_refused_or_floats() -> None:
    assert checks.as_floating("x", np.int64(2**40)) == 2.0**40
    with pytest.raises(ValueError, match="x: expected integers that fit int32, got 1099511627776"):
        checks.as_array("x", np.array([2**40]))


@pytest.mark.parametrize("value", ["0.4", None, object(), [[1.0], [1.0, 2.0]], 1j, np.array(["a"])])
def test_what_is_no_number_is_refused_by_name(value) -> None:
    for function in (checks.as_array, checks.as_floating):
        with pytest.raises(ValueError, match="coupling: expected "):
            function("coupling", value)


def test_labels_in_range_and_outside() -> None:
    logits = jnp.arange(6.0).reshape(2, 3)
    with pytest.raises(ValueError, match="labels: expected integers from 0 to 2, got 3"):
        checks.as_labels("labels", jnp.array([0, 3]), 3)
    with pytest.raises(ValueError, match="labels: expected integers, got"):
        checks.as_labels("labels", jnp.array([0.0, 1.0]), 3)

    @jax.jit
    def taken(labels):
        return checks.take_labelled(logits, checks.as_labels("labels", labels, 3))

    np.testing.assert_array_equal(taken(jnp.array([2, 0])), [2.0, 3.0])
    np.testing.assert_array_equal(taken(jnp.array([-1, 3])), [np.nan, np.nan])


def test_operands_of_one_type_whose_shapes_go_together() -> None:
    a, b = checks.as_operands(a=np.arange(3), b=np.float16(2))
    assert (a.dtype, b.dtype, b.shape) == (jnp.float32, jnp.float32, ())
    assert [x.ndim for x in checks.as_operands(a=jnp.ones((2, 3)), b=jnp.ones(3))] == [2, 2]
    with pytest.raises(ValueError, match="a, b: expected shapes that go together"):
        checks.as_operands(a=jnp.ones(3), b=jnp.ones(2))


def test_keys_numbers_counts_and_functions() -> None:
    checks.check_key("key", jax.random.key(0))
    for wrong in (0, jax.random.PRNGKey(0), jax.random.split(jax.random.key(0))):
        with pytest.raises(ValueError, match="key: expected "):
            checks.check_key("key", wrong)
    checks.check_number("rate", 0.5, above=0, below=1)
    for wrong in (0, 1.0, float("nan"), [0.5, 0.5], "0.5"):
        with pytest.raises(ValueError, match="rate: expected "):
            checks.check_number("rate", wrong, above=0, below=1)
    assert checks.as_count("n", np.int64(2)) == 2
    for wrong in (True, 1.0, "2", None, 0):
        with pytest.raises(ValueError, match="n: expected an integer >= 1"):
            checks.as_count("n", wrong)
    with pytest.raises(ValueError, match="fn: expected a function of the means, got 3"):
        checks.check_function("fn", 3, of="the means")


def test_whether_a_function_takes_so_many_arguments() -> None:
    assert checks.takes(lambda x: x, 1)
    assert checks.takes(lambda *x: x, 4)
    assert not checks.takes(lambda x, y: x, 1)
    assert checks.takes(max, 2)  # does not say
