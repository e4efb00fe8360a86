"""Functions of n bits over all patterns: bits, spins and sizes against NumPy, chunks, derivatives and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import tables

BITS = 6
INDEX = np.arange(2**BITS)
MEMBERS = (INDEX[:, None] >> np.arange(BITS)) & 1 == 1


def test_patterns_follow_the_bits_of_their_index():
    np.testing.assert_array_equal(tables.all_bits(BITS), MEMBERS)
    np.testing.assert_array_equal(tables.bits_of(jnp.arange(2**BITS, dtype=jnp.uint8), BITS), MEMBERS)
    np.testing.assert_array_equal(tables.spins_of(jnp.arange(2**BITS).reshape(8, 8), BITS)[2, 3], 2 * MEMBERS[19] - 1)
    np.testing.assert_array_equal(tables.subset_sizes(BITS), MEMBERS.sum(axis=1))
    for dtype in (jnp.int8, jnp.float32):
        states = tables.all_spins(BITS, dtype)
        assert states.dtype == dtype
        np.testing.assert_array_equal(states, 2 * MEMBERS - 1)
    assert tables.all_bits(0).shape == (1, 0)


def weights_of(index):
    return {"odd": index % 2 == 1, "vector": jnp.stack([index, index**2], axis=-1)}


@pytest.mark.parametrize("chunk_size", [1, 8, 64, 1024])
@pytest.mark.parametrize("first", [0, 5])
def test_chunks_neither_lose_nor_repeat_an_index(chunk_size, first):
    def add(total, index):
        return total + jnp.sum(index), weights_of(index)

    @jax.jit
    def both(first):
        table = tables.tabulate(weights_of, BITS, chunk_size=chunk_size, first=first)
        return table, tables.fold(add, jnp.int32(0), BITS, chunk_size=chunk_size, first=first)

    table, (total, folded) = both(first)
    expected = jax.vmap(weights_of)(first + jnp.asarray(INDEX, jnp.int32))
    for got in (table, folded):
        jax.tree.map(np.testing.assert_array_equal, got, expected)
        assert got["odd"].dtype == jnp.bool_
    assert total == (first + INDEX).sum()


def test_a_fold_goes_through_the_indices_in_order():
    last, _ = tables.fold(lambda carry, index: (10 * carry + index[0], None), 0, 3, chunk_size=1)
    assert last == 1234567


def test_folds_can_be_differentiated_to_every_order_and_batched(x64):
    """sum_S prod_{i in S} x_i = prod_i (1 + x_i), whose derivatives are known."""

    def total(x, chunk_size):
        def add(carry, index):
            products = jnp.prod(jnp.where(tables.bits_of(index, BITS), x, 1), axis=-1)
            return carry + jnp.sum(products), products

        carry, table = tables.fold(add, jnp.zeros(()), BITS, chunk_size=chunk_size)
        return carry + jnp.sum(table)

    x = jnp.linspace(0.2, 0.7, BITS)
    with jax.numpy_rank_promotion("allow"):
        derivatives = jax.jit(lambda x: (jax.grad(total)(x, 4), jax.hessian(total)(x, 8)))(x)
        batch = jax.vmap(lambda x: total(x, 16))(jnp.stack([x, 2 * x]))
    whole = 2 * np.prod(1 + x)
    np.testing.assert_allclose(batch, [whole, 2 * np.prod(1 + 2 * x)], rtol=1e-13)
    np.testing.assert_allclose(derivatives[0], whole / (1 + x), rtol=1e-13)
    pairs = whole / np.outer(1 + x, 1 + x)
    np.testing.assert_allclose(derivatives[1], pairs - np.diag(np.diag(pairs)), rtol=1e-13, atol=1e-13)


def test_a_derivative_needs_the_memory_of_a_chunk():
    def total(scale, chunk_size):
        def add(carry, index):
            return carry + jnp.sum(jnp.sin(scale * tables.spins_of(index, 20, jnp.float32))), None

        return tables.fold(add, 0.0, 20, chunk_size=chunk_size)[0]

    memory = jax.jit(jax.grad(total), static_argnums=1).lower(0.3, 2**10).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 2**20  # all states at once are 80 MB


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tables.all_bits(40), r"num_bits: expected at most 25 .* got 40, which needs 43,980,465,111,040 bytes"),
        (lambda: tables.all_spins(40), r"num_bits: expected at most 25 .* in 2,147,483,648 bytes, got 40"),
        (lambda: tables.all_spins(26, jnp.float32), "got 26, which needs 6,979,321,856 bytes"),
        (lambda: tables.check_table(9, itemsize=8, copies=2, max_bytes=2**12, name="n"), "n: expected at most 8 .* 9"),
        (lambda: tables.check_num_bits(31, name="shape"), "shape: expected at most 30, .* got 31"),
        (lambda: tables.check_num_bits(-1), "num_bits: expected an integer >= 0, got -1"),
        (lambda: tables.tabulate(lambda index: index, 31), "num_bits: expected at most 30"),
        (lambda: tables.fold(lambda c, i: (c, i), 0, 4, chunk_size=12), "chunk_size: expected a power of two, got 12"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_allocated(call, message):
    with pytest.raises(ValueError, match=message):
        call()
