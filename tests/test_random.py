"""Generators against published answers, and Bernoulli thresholds against exact integers."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from benchmarks import random_quality
from jaxrg import random

# Compiled once: one small kernel for each operation would cost more than the test.
bits = jax.jit(random.bits, static_argnums=2)
bernoulli = jax.jit(random.bernoulli)

PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89)

# Random123's tests/kat_vectors: generator, rounds, number of counter and key words, answers for zeros, ones and pi.
KNOWN_ANSWERS = [
    (random.threefry2x32, 13, 2, 2, "9d1c5ec6 8bd50731", "fd36d048 2d17272c", "ba3e4725 f27d669e"),
    (random.threefry2x32, 20, 2, 2, "6b200159 99ba4efe", "1cb996fc bb002be7", "c4923a9c 483df7a0"),
    (random.threefry2x32, 32, 2, 2, "cee3d47e a23dfd5c", "6e2fe0d0 b1b76f82", "e2827716 c3c05cdf"),
    (
        random.threefry4x32,
        13,
        4,
        4,
        "531c7e4f 39491ee5 2c855a92 3d6abf9a",
        "c4189358 1c9cc83a d5881c67 6a0a89e0",
        "4aa71d8f 734738c2 431fc6a8 ae6debf1",
    ),
    (
        random.threefry4x32,
        20,
        4,
        4,
        "9c6ca96a e17eae66 fc10ecd4 5256a7d8",
        "2a881696 57012287 f6c7446e a16a6732",
        "59cd1dbb b8879579 86b5d00c ac8b6d84",
    ),
    (
        random.threefry4x32,
        72,
        4,
        4,
        "93171da6 9220326d b392b7b1 ff58a002",
        "60743f3d 9961e684 aab21c34 8c65fb7d",
        "09930adf 7f27bd55 9ed68ce1 97f803f6",
    ),
    (
        random.philox4x32,
        7,
        4,
        2,
        "5f6fb709 0d893f64 4f121f81 4f730a48",
        "5207ddc2 45165e59 4d8ee751 8c52f662",
        "4dfccaba 190a87f0 c47362ba b6b5242a",
    ),
    (
        random.philox4x32,
        10,
        4,
        2,
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("generator", "rounds", "num_counter", "num_key", "zeros", "ones", "pi"), KNOWN_ANSWERS)
def test_known_answers(generator, rounds, num_counter, num_key, zeros, ones, pi):
    inputs = np.array([[0] * 8, [0xFFFFFFFF] * 8, PI], np.uint32)
    counter = [jnp.asarray(inputs[:, i]) for i in range(num_counter)]
    key = [jnp.asarray(inputs[:, num_counter + i]) for i in range(num_key)]
    words = np.stack(generator(key, counter, rounds=rounds), axis=-1)
    expected = [[int(word, 16) for word in answer.split()] for answer in (zeros, ones, pi)]
    assert words.tolist() == expected


def test_threefry_is_the_generator_of_jax():
    counter = jnp.arange(1000, dtype=jnp.uint32)
    key = jax.random.key_data(jax.random.key(12345))
    ours = random.threefry2x32((key[0], key[1]), (counter[:500], counter[500:]))
    assert np.array_equal(np.concatenate(ours), threefry_2x32(key, counter))


def scalar_threefry4x32(key: list[int], counter: list[int], rounds: int) -> list[int]:
    """Written from the paper on Python integers, to check what ``bits`` feeds the generator with."""
    mask = 0xFFFFFFFF
    rotations = [[10, 26], [11, 21], [13, 27], [23, 5], [6, 20], [17, 11], [25, 10], [18, 20]]
    schedule = [*key, 0x1BD11BDA ^ key[0] ^ key[1] ^ key[2] ^ key[3]]
    x = [(c + k) & mask for c, k in zip(counter, schedule[:4], strict=True)]
    for r in range(rounds):
        for lane, (target, source) in enumerate([(0, 1), (2, 3)] if r % 2 == 0 else [(0, 3), (2, 1)]):
            x[target] = (x[target] + x[source]) & mask
            amount = rotations[r % 8][lane]
            x[source] = (((x[source] << amount) | (x[source] >> (32 - amount))) & mask) ^ x[target]
        if r % 4 == 3:
            n = r // 4 + 1
            x = [(value + schedule[(n + i) % 5] + (n if i == 3 else 0)) & mask for i, value in enumerate(x)]
    return x


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_bits_are_a_function_of_key_site_replica_and_draw(impl):
    key = jax.random.fold_in(jax.random.key(7, impl=impl), 3)
    key_words = np.asarray(jax.random.key_data(key)).tolist()
    key_words += [0] * (4 - len(key_words))
    sites = jnp.array([[0, 5], [2**32 - 1, 77]], jnp.uint32)
    replicas = jnp.array([[0, 1], [4, 2**31]], jnp.uint32)
    words = jax.jit(lambda: random.bits(key, sites, 6, replicas=replicas))()
    assert len(words) == 6
    for place in np.ndindex(2, 2):
        blocks = [
            scalar_threefry4x32(key_words, [int(sites[place]), int(replicas[place]), block, 0], 13)
            for block in range(2)
        ]
        assert [int(word[place]) for word in words] == [*blocks[0], *blocks[1]][:6]


def test_bits_do_not_depend_on_layout_or_count():
    key = jax.random.key(0)
    sites = jnp.arange(64, dtype=jnp.uint32)
    few, many = bits(key, sites, 2), bits(key, sites, 9)
    assert all(np.array_equal(a, b) for a, b in zip(few, many, strict=False))
    order = np.random.default_rng(0).permutation(64)
    shuffled = bits(key, sites[order].reshape(8, 8), 2)
    assert all(np.array_equal(a[order].reshape(8, 8), b) for a, b in zip(few, shuffled, strict=True))
    keys = jax.random.split(key, 3)
    batched = jax.vmap(lambda k: bits(k, sites, 2))(keys)
    assert np.array_equal(batched[1][2], bits(keys[2], sites, 2)[1])


def test_every_bit_of_the_input_reaches_every_bit_of_the_output():
    key = jax.random.key(99)
    sites = jnp.asarray(np.random.default_rng(1).integers(0, 2**32, 4096, dtype=np.uint32))
    base = np.stack(bits(key, sites, 4))

    def flip_rates(other):
        changed = base ^ np.stack(other)
        return np.array([((changed >> np.uint32(bit)) & 1).mean(axis=1) for bit in range(32)])

    spread = 0.5 / np.sqrt(4096)
    for bit in range(0, 32, 3):
        mask = jnp.uint32(1 << bit)
        for other in (
            bits(key, sites ^ mask, 4),
            bits(key, sites, 4, replicas=jnp.full_like(sites, mask)),
        ):
            assert np.all(np.abs(flip_rates(other) - 0.5) < 5.5 * spread)
    assert np.all(np.abs(flip_rates(bits(jax.random.key(98), sites, 4)) - 0.5) < 5.5 * spread)
    assert np.all(np.abs(flip_rates(bits(key, sites, 8)[4:]) - 0.5) < 5.5 * spread)


def test_raw_keys_and_wrong_indices_are_refused():
    sites = jnp.arange(4, dtype=jnp.uint32)
    with pytest.raises(ValueError, match="key: expected a typed key"):
        random.bits(jnp.zeros(2, jnp.uint32), sites, 1)
    with pytest.raises(ValueError, match="key: expected one key"):
        random.bits(jax.random.split(jax.random.key(0)), sites, 1)
    with pytest.raises(ValueError, match="sites: expected uint32"):
        random.bits(jax.random.key(0), sites.astype(jnp.int32), 1)
    with pytest.raises(ValueError, match="replicas: expected uint32 of shape"):
        random.bits(jax.random.key(0), sites, 1, replicas=sites[:2])
    with pytest.raises(ValueError, match="num_words"):
        random.bits(jax.random.key(0), sites, 0)


def test_uniform_is_the_leading_24_bits():
    sites = jnp.arange(1 << 16, dtype=jnp.uint32)
    values = np.asarray(random.uniform(jax.random.key(4), sites))
    (words,) = bits(jax.random.key(4), sites, 1)
    assert values.dtype == np.float32
    assert np.array_equal(values.astype(np.float64) * 2**24, np.asarray(words) >> 8)
    assert abs(values.mean() - 0.5) < 5 * np.sqrt(1 / 12 / values.size)
    assert values.min() >= 0
    assert values.max() < 1


def exact_digits(probability: float, num_planes: int) -> int:
    return int(Fraction(probability) * 2 ** (num_planes + 32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_planes", [0, 1, 12, 32])
def test_binary_expansion_is_exact(dtype, num_planes, x64):
    generator = np.random.default_rng(num_planes)
    values = np.concatenate(
        [
            generator.random(50),
            np.exp(-50 * generator.random(200)),
            [0.0, 0.5, 1 - 2.0**-24, 2.0**-32, 2.0**-44, 2.0**-64, 3e-39, 1 - 2.0**-53],
        ]
    ).astype(dtype)
    values = values[values < 1]
    digits = jax.jit(lambda p: random.binary_expansion(p, num_planes=num_planes))(jnp.asarray(values))
    integers = [int(head) * 2**32 + int(tail) for head, tail in zip(digits.head, digits.tail, strict=True)]
    assert integers == [exact_digits(float(value), num_planes) for value in values]
    assert not np.any(digits.certain)


def test_certainty_has_ones_for_digits():
    digits = random.binary_expansion(1.0, num_planes=12)
    assert [int(part) for part in digits] == [2**12 - 1, 2**32 - 1, 2**32 - 1]


def test_probabilities_outside_the_unit_interval_are_refused():
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"probability: expected values in \[0, 1\]"):
            random.binary_expansion(wrong, num_planes=8)
    traced = jax.jit(lambda p: random.binary_expansion(p, num_planes=8))(jnp.float32(jnp.nan))
    assert [int(part) for part in traced] == [0, 0, 0]
    with pytest.raises(ValueError, match="num_planes"):
        random.binary_expansion(0.5, num_planes=33)


def test_bernoulli_compares_integers_of_64_bits():
    sites = jnp.arange(1 << 12, dtype=jnp.uint32)
    key = jax.random.key(11)
    first, second = (np.asarray(word).astype(object) for word in bits(key, sites, 2))
    values = first * 2**32 + second
    assert np.all(bernoulli(key, sites, jnp.float32(1.0)))
    assert not np.any(bernoulli(key, sites, jnp.float32(0.0)))
    # The last threshold is just above the smallest value that is drawn.
    for p in (0.3, 2.0**-13, 1 - 2.0**-24, float(values.min()) * 2.0**-64 * (1 + 2.0**-22)):
        p = jnp.float32(p)
        drawn = np.asarray(bernoulli(key, sites, p))
        assert np.array_equal(drawn, values < exact_digits(float(p), 32))
        assert drawn.any()
    each = np.linspace(0, 1, sites.size, dtype=np.float32)
    expected = [value < exact_digits(float(p), 32) for value, p in zip(values, each, strict=True)]
    assert np.array_equal(bernoulli(key, sites, each), expected)


def test_bernoulli_logit_keeps_rare_falses():
    sites = jnp.arange(1 << 22, dtype=jnp.uint32)
    draw = jax.jit(random.bernoulli_logit)
    key = jax.random.key(2)
    for logit in (-12.0, -0.5, 2.0):
        p = 1 / (1 + np.exp(-logit))
        rate = float(draw(key, sites, jnp.float32(logit)).mean(dtype=jnp.float32))
        assert abs(rate - p) < 5 * np.sqrt(p * (1 - p) / sites.size)
        assert np.array_equal(draw(key, sites, jnp.float32(-logit)), ~draw(key, sites, jnp.float32(logit)))
    assert np.all(draw(key, sites, jnp.float32(100.0)))
    assert not np.any(draw(key, sites, jnp.float32(-100.0)))
    assert not np.any(draw(key, sites, jnp.float32(jnp.nan)))


def test_lowers_for_every_platform():
    def draw(seed):
        key, sites = jax.random.key(seed), jnp.arange(256, dtype=jnp.uint32)
        zeros = jnp.zeros_like(sites)
        philox = random.philox4x32((sites, sites), (sites, sites, sites, zeros))
        return random.bits(key, sites, 5), random.uniform(key, sites), random.bernoulli(key, sites, 0.5), philox

    exported = jax.export.export(jax.jit(draw), platforms=["cpu", "cuda", "tpu"])(jnp.uint32(0))
    assert exported.platforms == ("cpu", "cuda", "tpu")


def test_light_bits_are_the_states_of_one_threefry():
    sites, replicas = jnp.arange(5, 12, dtype=jnp.uint32), jnp.full(7, 3, jnp.uint32)
    key = jax.random.key(4)
    words = random.light_bits(key, sites, 10, replicas=replicas)
    zeros = jnp.zeros_like(sites)
    for block in range(3):
        counter = (sites, replicas, zeros, zeros)
        expected = random.threefry4x32(random.key_words(key), counter, rounds=10 + 3 * block)
        found = words[4 * block : 4 * block + 4]
        assert all(map(np.array_equal, found, expected[: len(found)]))
    assert all(map(np.array_equal, random.light_bits(key, sites, 2, replicas=replicas), words))
    assert np.array_equal(random.light_bits(key, sites, 1)[0], random.light_bits(key, sites, 1, replicas=zeros)[0])


@pytest.mark.parametrize(
    ("word", "others"),
    [
        (4, [(0, 26), (0, 27), (1, 14), (1, 19), (1, 27), (3, 5)]),
        (6, [(1, 19), (2, 8), (2, 9), (3, 5), (3, 9), (3, 14)]),
    ],
)
def test_light_bits_of_two_blocks_are_related_as_their_docstring_says(word, others):
    """Seven bits of a site add up to the same at three of four sites; those of `bits` at half of them."""
    for generator, expected in ((random.light_bits, 0.5), (random.bits, 0.0)):
        words = np.asarray(jnp.stack(generator(jax.random.key(5), jnp.arange(1 << 14, dtype=jnp.uint32), 8)))
        total = words[word] & 1
        for index, bit in others:
            total = total ^ (words[index] >> bit) & 1
        assert abs(abs(1 - 2 * total.mean()) - expected) < 5 / 128  # errors of 2^14 sites


@pytest.mark.slow
@pytest.mark.parametrize("order", ["kernel", "sites", "replicas", "settle"])
def test_light_bits_pass_the_battery(order):
    assert random_quality.run_builtin(order, 1 << 21, generator="light_bits")
