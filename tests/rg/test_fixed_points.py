"""Fixed points against closed forms, their derivatives against differences, and what is refused in words."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rg


class Couplings(NamedTuple):
    pair: jax.Array
    field: jax.Array


def migdal_kadanoff(coupling):
    return jnp.log(jnp.cosh(4 * coupling)) / 2


def turned(angle, couplings):
    """A rotation times one half about (1, 2): complex eigenvalues, for which Newton takes one step."""
    turn = jnp.stack([jnp.stack([jnp.cos(angle), -jnp.sin(angle)]), jnp.stack([jnp.sin(angle), jnp.cos(angle)])])
    centre = jnp.array([1.0, 2.0], couplings.dtype)
    return centre + 0.5 * turn @ (couplings - centre)


def test_scaling_of_a_matrix_with_a_complex_pair(x64):
    matrix = np.zeros((4, 4))
    matrix[:2, :2] = 1.5 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    matrix[2, 2], matrix[3, 3] = 1.0, -0.25
    basis = np.random.default_rng(0).normal(size=(4, 4))
    matrix = basis @ matrix @ np.linalg.inv(basis)
    found = rg.scaling(matrix, 2)
    np.testing.assert_allclose(found.eigenvalues, [1.5 * np.exp(0.4j), 1.5 * np.exp(-0.4j), 1.0, -0.25], rtol=1e-12)
    expected = [np.log2(1.5) + 0.4j / np.log(2), np.log2(1.5) - 0.4j / np.log(2), 0, -2 + 1j * np.pi / np.log(2)]
    np.testing.assert_allclose(found.exponents, expected, atol=1e-12)
    assert found.kinds == ("relevant", "relevant", "marginal", "irrelevant")
    np.testing.assert_allclose(found.fields @ found.operators.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(
        np.asarray(found.operators) @ matrix.T, found.eigenvalues[:, None] * found.operators, atol=1e-12
    )
    np.testing.assert_allclose(np.asarray(found.fields) @ matrix, found.eigenvalues[:, None] * found.fields, atol=1e-11)
    largest = [row[np.argmax(np.abs(row))] for row in np.asarray(found.operators)]
    np.testing.assert_allclose(np.imag(largest), 0, atol=1e-15)
    assert np.all(np.real(largest) > 0)


def test_exponents_are_differentiable(x64):
    start, change = np.random.default_rng(1).normal(size=(2, 3, 3))
    exponent = jax.jit(lambda x: jnp.real(rg.scaling(start + x * change, 3.0).exponents[0]))
    difference = (exponent(1e-5) - exponent(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(exponent)(0.0), difference, rtol=1e-8)


def test_scaling_of_many_matrices_at_once():
    matrices = jnp.array([[[2.0, 0.0], [0.0, 0.5]], [[0.5, 0.0], [0.0, 4.0]]])
    found = jax.vmap(lambda matrix: rg.scaling(matrix, 2.0))(matrices)
    np.testing.assert_allclose(found.exponents, [[1, -1], [2, -1]])
    assert jax.tree.map(lambda leaf: leaf[0], found).kinds == ("relevant", "irrelevant")


@pytest.mark.parametrize(("is_double", "tolerance"), [(True, 1e-14), (False, 1e-6)])
def test_migdal_kadanoff_in_both_precisions(is_double, tolerance):
    with jax.enable_x64(is_double):
        found = rg.fixed_point(migdal_kadanoff, 0.3)
        assert abs(found.couplings - 0.304688932) < max(tolerance, 1e-9)
        assert abs(migdal_kadanoff(found.couplings) - found.couplings) <= tolerance
        exponent = rg.scaling(found.matrix, 2).exponents[0]
        assert abs(exponent - 0.747236) < max(5 * tolerance, 5e-7)
        assert found.num_steps <= 8


def test_couplings_keep_their_structure(x64):
    def flow(couplings):
        pair = migdal_kadanoff(couplings.pair)
        return Couplings(pair, 2 * couplings.field * (1 + pair))

    found = rg.fixed_point(flow, Couplings(jnp.float64(0.3), jnp.array([0.1, -0.1])))
    np.testing.assert_allclose(found.couplings.field, [0, 0], atol=1e-15)
    assert found.matrix.shape == (3, 3)
    assert rg.scaling(found.matrix, 2).kinds == ("relevant",) * 3


def test_a_linear_map_takes_one_step():
    found = rg.fixed_point(lambda k: turned(jnp.float32(0.3), k), [0.0, 0.0])
    np.testing.assert_allclose(found.couplings, [1, 2], rtol=1e-6)
    assert found.num_steps <= 3
    np.testing.assert_allclose(rg.scaling(found.matrix, 2).eigenvalues, 0.5 * np.exp([0.3j, -0.3j]), rtol=1e-6)


def test_derivatives_are_those_of_the_implicit_function(x64):
    """K* and its largest eigenvalue against differences, in both modes, with a solver inside the flow."""

    def inner(shift, coupling):
        # the p that solves p = tanh(p coupling + shift) / 2
        def excess(p):
            return p - jnp.tanh(p * coupling + shift) / 2

        def find(fn, p):
            return jax.lax.fori_loop(0, 60, lambda _, p: p - fn(p), p)

        return jax.lax.custom_root(excess, jnp.zeros_like(coupling), find, lambda g, y: y / g(jnp.ones_like(y)))

    def exponent(shift):
        found = rg.fixed_point(lambda k: migdal_kadanoff(k) + 0.1 * jnp.stack([inner(shift, k[0])]), [0.3])
        return jnp.stack([found.couplings[0], jnp.real(rg.scaling(found.matrix, 2).exponents[0])])

    program = jax.jit(exponent)
    difference = (program(0.2 + 1e-5) - program(0.2 - 1e-5)) / 2e-5
    assert np.all(np.abs(difference) > 0.01)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(exponent))(0.2), difference, rtol=1e-7)
    np.testing.assert_allclose(jax.jit(jax.jacrev(exponent))(0.2), difference, rtol=1e-7)


def test_steps_are_halved_where_the_map_ends():
    """From 0.9, Newton's first step on K -> ln K + 2 leaves the domain of the logarithm."""
    found = rg.fixed_point(lambda k: jnp.log(k) + 2, 0.9)
    assert abs(float(found.couplings) - 0.158594) < 1e-5


def test_what_has_no_fixed_point_is_refused_in_words():
    with pytest.raises(FloatingPointError, match=r"flow: expected a fixed point near the guess, got .* = 1"):
        rg.fixed_point(lambda k: k**2 + k + 1, 0.3)
    with pytest.raises(FloatingPointError, match="flow: expected an isolated fixed point, got dR/dK with an eigenval"):
        rg.fixed_point(lambda k: k + 0.5, 0.3)
    with pytest.raises(FloatingPointError, match="guess: expected couplings where the flow is finite, got NaN"):
        rg.fixed_point(jnp.log, -1.0)
    with pytest.raises(FloatingPointError, match="flow: expected"):  # only at infinity
        rg.fixed_point(lambda k: k + jnp.exp(-k), 1.0)
    with pytest.raises(ValueError, match=r"flow: expected couplings like the guess, \(2,\), got"):
        rg.fixed_point(lambda k: k[0], [0.3, 0.1])
    with pytest.raises(ValueError, match="guess: expected at least one coupling, got none"):
        rg.fixed_point(lambda k: k, {})
    with pytest.raises(ValueError, match="rescaling: expected a number between 1 and inf, got 1"):
        rg.scaling(jnp.eye(2), 1.0)
    with pytest.raises(ValueError, match=r"matrix: expected a square matrix, got shape \(2, 3\)"):
        rg.scaling(jnp.ones((2, 3)), 2.0)


def test_inside_a_transformation_what_failed_is_nan():
    found = jax.jit(lambda shift: rg.fixed_point(lambda k: k**2 + k + shift, 0.3))(1.0)
    assert not found.is_converged
    assert np.isnan(found.couplings)
    assert np.isnan(found.matrix).all()
