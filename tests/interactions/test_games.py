"""Games beyond their contract: devices, budgets, the definitions of their interactions, gradients, refusals."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import explain, interactions, nets, tables
from jaxrg.interactions.games import bytes_per_mask

N = 4


def brute_force_and(values: np.ndarray) -> list[float]:
    size = len(values)
    return [
        sum((-1) ** (s.bit_count() - t.bit_count()) * values[t] for t in range(size) if t & s == t) for s in range(size)
    ]


DEVICES_PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jaxrg import interactions, transforms
mesh = jax.make_mesh((8,), ("subsets",))
weights = jnp.linspace(-1.0, 2.0, 9)
game = interactions.game(lambda masks: jnp.sin(masks @ weights), 9)
whole = interactions.evaluate(game)
for chunk_size in (None, 16):
    table = interactions.evaluate_over_devices(game, mesh, axis_name="subsets", chunk_size=chunk_size)
    assert len(table.sharding.device_set) == 8
    np.testing.assert_allclose(table, whole, atol=1e-6)
dividends = transforms.over_devices(transforms.moebius, table, mesh, axis_name="subsets")
np.testing.assert_allclose(dividends, interactions.harsanyi(whole), atol=1e-4)
"""


def test_a_game_spread_over_eight_devices_has_the_same_table():
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    subprocess.run([sys.executable, "-c", DEVICES_PROGRAM], env=environment, check=True)


def test_a_small_budget_gives_small_chunks():
    seen = []

    def play(masks):
        seen.append(masks.shape)
        return jnp.sum(jnp.sin(jnp.where(masks, 1.0, 0.5)), axis=-1)

    game = interactions.game(play, 10)
    whole = interactions.evaluate(game)
    assert max(shape[0] for shape in seen) == 2**10
    budget = 4 * 2**10 + 33 * bytes_per_mask(game)
    seen.clear()
    np.testing.assert_allclose(interactions.evaluate(game, max_bytes=budget), whole, rtol=1e-6)
    assert max(shape[0] for shape in seen) == 32


def test_the_host_reports_its_chunks():
    done = []
    game = interactions.game(lambda masks: masks.sum(-1), N)
    values = interactions.evaluate_on_host(game, chunk_size=4, progress=lambda *report: done.append(report))
    assert done == [(4, 16, ""), (8, 16, ""), (12, 16, ""), (16, 16, "")]
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, tables.subset_sizes(N))


def test_interactions_equal_their_defining_sums(x64):
    values = np.random.default_rng(0).normal(size=2**N)
    np.testing.assert_allclose(interactions.harsanyi(values), brute_force_and(values), atol=1e-13)
    expected = -np.array(brute_force_and(values[::-1]))
    expected[0] = values[0]
    dividends = interactions.harsanyi_or(values)
    np.testing.assert_allclose(dividends, expected, atol=1e-13)
    sums = [
        values[0] + sum(dividends[s] for s in range(1, 2**N) if s & coalition) for coalition in range(2**N)
    ]  # v(T) = v(∅) + the OR interactions that T touches
    np.testing.assert_allclose(sums, values, atol=1e-13)


def test_tables_map_over_samples_parameters_and_checkpoints():
    net = nets.mlp((6, 3))
    samples = jax.random.normal(jax.random.key(0), (5, N))
    keys = jax.random.split(jax.random.key(1), 2)
    stacked = jax.vmap(net.init, in_axes=(0, None))(keys, samples)

    @jax.jit
    def values(params, sample):
        game = interactions.masked_game(
            functools.partial(net.apply, params),
            sample,
            baseline=jnp.zeros(N),
            assignment=interactions.features(N),
            score=functools.partial(interactions.logit, label=0),
        )
        return interactions.evaluate(game)

    found = jax.vmap(jax.vmap(values, in_axes=(None, 0)), in_axes=(0, None))(stacked, samples)
    assert found.shape == (2, 5, 16)
    one = values(jax.tree.map(lambda leaf: leaf[1], stacked), samples[3])
    np.testing.assert_allclose(found[1, 3], one, rtol=1e-5, atol=1e-6)


def test_interactions_are_differentiable_in_the_parameters(x64):
    weights = jnp.asarray([0.5, -1.0, 2.0])

    def triple(weights):
        game = interactions.masked_game(
            lambda inputs: jnp.prod(inputs * weights[None, :], axis=-1, keepdims=True) ** 2,
            jnp.ones(3),
            baseline=jnp.zeros(3),
            assignment=interactions.features(3),
            score=lambda outputs: outputs[..., 0],
        )
        return interactions.harsanyi(interactions.evaluate(game, chunk_size=4))[-1]

    np.testing.assert_allclose(jax.grad(triple)(weights), 2 * jnp.prod(weights) ** 2 / weights, rtol=1e-12)


def game_of(fn, num_players: int = 3) -> interactions.Game:
    return interactions.game(fn, num_players)


def first(masks: jax.Array) -> jax.Array:
    return masks[:, 0].astype(jnp.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interactions.evaluate(game_of(first, 40)), "num_players: expected at most 29 .* 4,398,046,511,104"),
        (
            lambda: interactions.evaluate(game_of(lambda masks: masks.astype(jnp.float32))),
            r"expected values of shape \(2,\).* got shape \(2, 3\)",
        ),
        (lambda: interactions.evaluate(game_of(lambda masks: jnp.sum(first(masks)))), r"values of shape \(2,\)"),
        (
            lambda: interactions.evaluate(game_of(lambda masks: jnp.log(first(masks[:, 1:]) - 0.5))),
            "got 4 of 8 that are NaN .* mask 0",
        ),
        (lambda: interactions.evaluate(game_of(first, 31), max_bytes=2**40), "num_players: expected at most 30"),
        (lambda: interactions.evaluate(game_of(lambda masks: np.asarray(masks).sum(-1))), "evaluate_on_host plays it"),
        (lambda: interactions.evaluate(game_of(lambda masks: 1.0)), r"values of shape \(2,\).* got shape \(\)"),
        (lambda: game_of(3), "fn: expected a function of masks, got 3"),
        (lambda: game_of(first, -1), "num_players: expected an integer >= 0"),
        (lambda: interactions.evaluate(game_of(first), chunk_size=3), "a power of two, got 3"),
        (lambda: interactions.evaluate_on_host(game_of(lambda masks: np.zeros(7))), r"shape \(8,\).* shape \(7,\)"),
        (lambda: interactions.evaluate_on_host(game_of(lambda masks: np.full(8, np.nan))), "got 8 of 8 that are NaN"),
        (lambda: interactions.evaluate_on_host(game_of(lambda masks: np.zeros(8)), max_bytes=63), "needs 64 bytes"),
        (lambda: interactions.evaluate_on_host(game_of(first), chunk_size=3), "a power of two, got 3"),
        (lambda: interactions.log_odds(jnp.ones((2, 3)), [0, 1, 2]), r"label: expected shape \(2,\), got \(3,\)"),
        (lambda: interactions.log_odds(jnp.ones((2, 1)), 0), "outputs: expected .* at least 2 of them"),
        (lambda: interactions.logit(jnp.ones((2, 3)), 3), "label: expected integers from 0 to 2, got 3"),
        (lambda: interactions.log_odds(jnp.ones((2, 3)), -1), "label: expected integers from 0 to 2, got -1"),
    ],
)
def test_bad_games_are_refused_with_figures(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def fingers(masks):
    return masks.sum(-1).astype(jnp.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda: interactions.evaluate(fingers),
        lambda: interactions.evaluate_on_host(fingers),
        lambda: interactions.sampling.estimate(
            jax.random.key(0), interactions.sampling.permutation_shapley(5, 40), fingers
        ),
        lambda: interactions.sparse.recover_moebius(jax.random.key(0), fingers, 40),
        lambda: explain.mixed_difference_penalty(jax.random.key(0), fingers, 2),
    ],
)
def test_a_function_that_knows_no_players_is_no_game(call):
    with pytest.raises(ValueError, match=r"game: expected a Game, .* got function"):
        call()
