"""Matching, sparsity, transfer and null models, against enumeration and games whose answer is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import explain
from jaxrg.explain import evidence as ev
from jaxrg.interactions import and_or, from_harsanyi, harsanyi, harsanyi_or, is_salient

N = 5
SIZE = 2**N
ORDERS = np.array([bin(index).count("1") for index in range(SIZE)])


def games(num: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, SIZE))


def pair(and_, or_) -> ev.Decomposition:
    return ev.Decomposition(jnp.asarray(and_), jnp.asarray(or_))


@pytest.mark.usefixtures("x64")
def test_reconstruction_equals_the_definition():
    and_, or_ = games(1, 1)[0], games(1, 2)[0]
    sets = range(SIZE)
    expected = [sum(and_[s] for s in sets if s & t == s) + or_[0] + sum(or_[s] for s in sets if s & t) for t in sets]
    np.testing.assert_allclose(ev.reconstruction(pair(and_, or_)), expected, atol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_and_or_and_extraction_all_match_every_mask():
    values = jnp.asarray(games(3))
    zeros = jnp.zeros_like(values)
    extracted = and_or.extract(values, noise_bound=0.1)
    for target, result in (
        (values, pair(harsanyi(values), zeros)),
        (values, pair(zeros, harsanyi_or(values))),
        (values + extracted.q, extracted),
    ):
        assert float(jnp.max(ev.matching_error(target, result).largest)) < 1e-12
    left_out = ev.matching_error(values, pair(harsanyi(values).at[:, 7].set(0.0), zeros))
    # One interaction is missing from every superset of its three players, a quarter of the masks.
    missing = jnp.abs(harsanyi(values)[:, 7])
    np.testing.assert_allclose(left_out.largest, missing, rtol=1e-9)
    np.testing.assert_allclose(left_out.root_mean_square, missing / np.sqrt(8), rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_strengths_and_salient_sets():
    and_ = np.zeros(SIZE)
    or_ = np.zeros(SIZE)
    and_[[0, 3, 5]], or_[[0, 6, 7]] = [50.0, -2.0, 0.09], [9.0, 1.0, 0.11]
    strengths = ev.sorted_strengths(pair(and_, or_))
    assert strengths.shape == (2 * (SIZE - 1),)
    np.testing.assert_allclose(strengths[:5], [2.0, 1.0, 0.11, 0.09, 0.0])
    salient = ev.salient_sets(pair(and_, or_))
    assert np.flatnonzero(salient).tolist() == [3, SIZE + 6, SIZE + 7]
    assert np.flatnonzero(ev.salient_sets(pair(and_, or_), 0.6)).tolist() == [3]
    assert not np.any(ev.salient_sets(pair(np.zeros(SIZE), np.zeros(SIZE))))


@pytest.mark.usefixtures("x64")
def test_sparsity_curve_keeps_the_strongest():
    values = jnp.asarray(games(2))
    and_, or_ = harsanyi(0.5 * values), harsanyi_or(0.5 * values)
    counts = jnp.asarray([0, 3, 2 * (SIZE - 1)])
    curve = jax.jit(ev.sparsity_curve)(values, pair(and_, or_), counts)
    assert curve.relative.shape == (2, 3)
    np.testing.assert_allclose(curve.largest[:, 2], 0.0, atol=1e-12)
    np.testing.assert_allclose(
        curve.root_mean_square[:, 0], jnp.sqrt(jnp.mean((values - values[:, :1]) ** 2, axis=1)), rtol=1e-12
    )
    pairs = [(abs(float(t[s])), kind, s) for kind, t in enumerate((and_[0], or_[0])) for s in range(1, SIZE)]
    kept = [np.zeros(SIZE), np.zeros(SIZE)]
    kept[0][0] = kept[1][0] = float(values[0, 0]) / 2
    for _, kind, s in sorted(pairs)[-3:]:
        kept[kind][s] = (and_, or_)[kind][0, s]
    direct = ev.matching_error(values[0], pair(*kept))
    assert float(curve.root_mean_square[0, 1]) == pytest.approx(float(direct.root_mean_square), rel=1e-12)


def test_transfer_of_equal_disjoint_and_random_sets():
    same = np.zeros((4, 2 * SIZE), bool)
    same[:, [3, 9]] = True
    found = ev.sample_transfer(jnp.asarray(same))
    assert (float(found.mean), float(found.error)) == (1.0, 0.0)
    assert float(found.chance) == pytest.approx(0.2)  # two pairs of players are salient, of the ten there are

    disjoint = np.zeros((4, 2 * SIZE), bool)
    disjoint[np.arange(4), [3, 5, 6, 9]] = True
    assert float(ev.sample_transfer(jnp.asarray(disjoint)).mean) == 0.0

    random = np.random.default_rng(0).random((60, 2 * SIZE)) < 0.3
    random[:, [0, SIZE]] = False
    found = ev.sample_transfer(jnp.asarray(random))
    assert abs(float(found.mean) - float(found.chance)) < 5 * float(found.error)
    i, j = 2, 7
    assert float(found.pairwise[i, j]) == pytest.approx((random[i] & random[j]).sum() / random[i].sum(), rel=1e-6)


def test_an_empty_sample_counts_in_no_mean():
    sets = np.random.default_rng(2).random((5, 2 * SIZE)) < 0.3
    sets[3] = False
    found, without = (ev.sample_transfer(jnp.asarray(rows)) for rows in (sets, np.delete(sets, 3, axis=0)))
    for field in ("mean", "error", "chance"):
        assert float(getattr(found, field)) == pytest.approx(float(getattr(without, field)), rel=1e-5)
    is_nan = np.isnan(found.pairwise)
    assert is_nan[3].all()
    assert is_nan[:, 3].all()
    assert is_nan.sum() == 9
    same = jnp.zeros((4, 2 * SIZE), bool).at[:3, 3].set(True)
    assert float(ev.sample_transfer(same).mean) == 1.0


def test_transfer_error_covers_the_scatter_of_repeats():
    generator = np.random.default_rng(1)
    repeats, transfer = [], jax.jit(ev.sample_transfer)
    for _ in range(200):
        member = generator.random((12, 2 * SIZE)) < generator.uniform(0.1, 0.5, size=(12, 1))
        repeats.append([float(x) for x in transfer(jnp.asarray(member))[1:3]])
    means, errors = np.array(repeats).T
    assert 0.7 < errors.mean() / means.std(ddof=1) < 1.4


def test_null_models_keep_what_they_say():
    values = jnp.asarray(games(6) + 3.0, jnp.float32)
    key = jax.random.key(0)
    null = ev.random_game(key, values)
    np.testing.assert_allclose(jnp.mean(null, axis=1), jnp.mean(values, axis=1), rtol=1e-5)
    np.testing.assert_allclose(jnp.std(null, axis=1), jnp.std(values, axis=1), rtol=1e-5)
    shuffled = np.asarray(ev.shuffled_within_sizes(key, values))
    for k in range(N + 1):
        before, after = np.asarray(values)[:, k == ORDERS], shuffled[:, k == ORDERS]
        np.testing.assert_array_equal(np.sort(before, axis=1), np.sort(after, axis=1))
    assert not np.array_equal(shuffled, values)


def test_the_shuffle_keeps_sizes_apart_however_the_noise_rounds(monkeypatch):
    # A float32 just below one rounds up to the next integer when a size of 4 is added to it.
    almost_one = np.float32(1) - np.finfo(np.float32).epsneg
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.full(shape, almost_one).at[..., 1::2].set(0))
    # Traced anew, and not kept for others.
    shuffle = jax.jit(lambda key, table: ev._shuffled_within_sizes.__wrapped__(key, table))
    shuffled = np.asarray(shuffle(jax.random.key(0), jnp.asarray(ORDERS, jnp.float32)))
    np.testing.assert_array_equal(shuffled, ORDERS)


def test_shuffle_is_uniform_within_a_size():
    keys = jax.random.split(jax.random.key(3), 4000)
    indices = jnp.arange(SIZE, dtype=jnp.float32)
    places = np.asarray(jax.vmap(lambda k: ev.shuffled_within_sizes(k, indices))(keys))
    singles = np.array([1, 2, 4, 8, 16])
    counts = np.array([[np.sum(places[:, s] == t) for t in singles] for s in singles])
    # 16 degrees of freedom in a 5x5 table of permutations' margins, scaled as for a random permutation matrix.
    chi_square = np.sum((counts - 800.0) ** 2 / 800.0) * 4 / 5
    assert chi_square < 16 + 5 * np.sqrt(32)


@pytest.mark.slow
def test_real_structure_stands_out_from_the_null():
    # A sum of three interactions, with noise: few are salient, as against a random game of equal norm.
    generator = np.random.default_rng(5)
    tables = 1e-3 * generator.normal(size=(8, SIZE))
    tables[:, [3, 12, 21]] += [2.0, -1.0, 1.5]
    values = from_harsanyi(jnp.asarray(tables, jnp.float32))

    def count(games: jax.Array) -> jax.Array:
        return jnp.sum(is_salient(harsanyi(games)), axis=-1, dtype=jnp.int32)

    compare = jax.jit(lambda key, values: ev.compare_to_null(key, count, values, ev.random_game, num_nulls=8))
    compared = compare(jax.random.key(1), values)
    assert float(compared.value) == 3.0
    assert float(compared.null) > 15
    assert float(compared.difference) < -10 * float(compared.difference_error)
    null = ev.random_game(jax.random.key(3), values)
    same = compare(jax.random.key(2), null)
    assert abs(float(same.difference)) < 5 * float(same.difference_error)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_ambiguity_of_a_unique_and_of_a_free_choice():
    sparse = np.zeros(SIZE)
    sparse[[3, 12]] = [2.0, -1.0]
    unique = np.array([sparse[[s for s in range(SIZE) if s & m == s]].sum() for m in range(SIZE)])
    # min(|T|, 1) + [|T| = 5]-like sums: x1 x2 + x1 v x2 = x1 + x2, two decompositions of norm two.
    pair = np.array([float(m & 1 > 0) + float(m & 2 > 0) for m in range(SIZE)])
    values = jnp.asarray(np.stack([unique, pair]))
    # As many games as the draws are, so that both are one program.
    copies = and_or.extract(jnp.broadcast_to(values, (10, *values.shape)), noise_bound=0.0)
    optimum = jax.tree.map(lambda leaf: leaf[0], copies)
    np.testing.assert_allclose(optimum.objective, [3.0, 2.0], rtol=1e-6)
    found = explain.extraction_ambiguity(
        jax.random.key(0), values, optimum, noise_bound=0.0, num_draws=10, perturbation=0.01
    )
    assert np.all(np.asarray(found.excess) < 0.0101 * 2)
    assert (float(found.jaccard[0]), float(found.common[0])) == (1.0, 1.0)
    assert float(jnp.max(found.and_range[0])) < 1e-3
    # x1 + x2, or x1 x2 and x1 v x2: each draw takes either, and ten draws take both.
    assert float(found.or_range[1, 3]) == pytest.approx(1.0, abs=0.02)
    assert float(found.common[1]) == 0.0
    assert 0.3 < float(found.distance[1]) < 0.7


ZEROS = pair(np.zeros(4), np.zeros(4))
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            functools.partial(ev.matching_error, jnp.zeros(8), ZEROS),
            r"result.and_: expected the shape of values \(8,\)",
        ),
        (functools.partial(ev.sparsity_curve, jnp.zeros(4), ZEROS, jnp.zeros(2)), "counts: expected integers"),
        (functools.partial(ev.sample_transfer, jnp.zeros((2, 8), bool)), "3 samples or more"),
        (functools.partial(ev.compare_to_null, KEY, jnp.abs, jnp.zeros((1, 4)), ev.random_game), "2 games or more"),
    ],
)
def test_refuses_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
