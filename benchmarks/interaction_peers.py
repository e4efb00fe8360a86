"""Exact interactions against shapiq's ``ExactComputer``, from the same games in float64.

Two races. Möbius: a vectorised game of 14 players, evaluated and transformed from the start by each side. Indices: all
that both packages have, to order 2, from the same table of ``2**12`` values; shapiq's game looks its values up in that
table, and every repeat has a fresh ``ExactComputer``, which keeps what it has computed. Compilation is timed apart.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from shapiq import ExactComputer

from benchmarks.timing import medians, record
from jaxrg.interactions import evaluate, game, harsanyi
from jaxrg.interactions.indices import generalized_values, interaction_indices, subsets_up_to

Record = dict[str, Any]

PEER = "shapiq ExactComputer"
NUM_PLAYERS_MOEBIUS, NUM_PLAYERS_INDICES, ORDER = 14, 12, 2
NUM_UNANIMITY_GAMES = 20
CALLS = 50  # of jaxrg for one of shapiq: a millisecond alone is mostly the clock's and the scheduler's
NOT_IN_SHAPIQ = {"Fourier"}


def _unanimity_sum(num_players: int) -> tuple[np.ndarray, np.ndarray]:
    """Coalitions and coefficients of a sum of unanimity games, whose dividends are known: the coefficients."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(np.arange(1, 2**num_players), NUM_UNANIMITY_GAMES, replace=False)
    return (chosen[:, None] >> np.arange(num_players)) & 1 == 1, rng.normal(size=NUM_UNANIMITY_GAMES)


def _first_call(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _race(
    name: str, num_players: int, ours: Callable[[], Any], theirs: Callable[[], Any], first: float, repeats: int
) -> list[Record]:
    def ours_often() -> None:
        for _ in range(CALLS):
            ours()

    seconds = medians({"jaxrg": ours_often, "shapiq": theirs}, repeats=repeats)
    mine, peer = seconds["jaxrg"] / CALLS, seconds["shapiq"]
    return [
        record(f"{name}_vs_shapiq", mine, f"s (n = {num_players})", peer=PEER, peer_value=peer, ratio=peer / mine),
        record(f"{name}_compile", max(first - mine, 0.0), "s"),
    ]


def _moebius(num_players: int, repeats: int) -> list[Record]:
    members, coefficients = _unanimity_sum(num_players)
    sizes = members.sum(-1)
    weights, values = jnp.asarray(members.T, jnp.float64), jnp.asarray(coefficients)
    thresholds = jnp.asarray(sizes - 0.5).reshape(1, -1)

    @jax.jit
    def transform(weights: jax.Array, values: jax.Array) -> jax.Array:
        def play(masks: jax.Array) -> jax.Array:
            is_there = masks.astype(jnp.float64) @ weights > thresholds
            return is_there.astype(jnp.float64) @ values

        return harsanyi(evaluate(game(play, num_players)))

    def peer_game(masks: np.ndarray) -> np.ndarray:
        return (masks.astype(np.float64) @ members.T > sizes - 0.5).astype(np.float64) @ coefficients

    def ours() -> np.ndarray:
        # Arguments, not constants, which XLA could compute with while it compiles.
        return np.asarray(transform(weights, values))

    def theirs() -> Any:
        return ExactComputer(peer_game, num_players)("Moebius", order=num_players)

    exact = np.zeros(2**num_players)
    exact[members @ (1 << np.arange(num_players))] = coefficients
    found, first = _first_call(ours)
    name = "mobius14"
    error = record(f"{name}_error", float(np.abs(found - exact).max()), "largest |error|")
    return [*_race(name, num_players, ours, theirs, first, repeats), error]


def _indices(num_players: int, repeats: int) -> list[Record]:
    table = np.random.default_rng(1).normal(size=2**num_players)
    places = 1 << np.arange(num_players)
    values = jnp.asarray(table)

    @jax.jit
    def all_indices(values: jax.Array) -> dict[str, jax.Array]:
        found = interaction_indices(values, ORDER) | generalized_values(values, ORDER)
        return found | {"Moebius": harsanyi(values)}  # of all orders, as the peer's

    def ours() -> dict[str, np.ndarray]:
        return jax.device_get(all_indices(values))

    names = sorted(set(jax.eval_shape(all_indices, values)) - NOT_IN_SHAPIQ)

    def theirs() -> dict[str, Any]:
        computer = ExactComputer(lambda masks: table[masks.astype(np.int64) @ places], num_players)
        return {name: computer(name, order=ORDER) for name in names}

    (found, first), expected = _first_call(ours), theirs()
    rows = [tuple(np.flatnonzero(subset).tolist()) for subset in subsets_up_to(num_players, ORDER)]
    gaps = [
        abs(found[name][row] - expected[name][subset])
        for name in set(names) - {"SV", "BV", "Moebius"}
        for row, subset in enumerate(rows)
        if subset
    ]
    return [
        *_race("indices12", num_players, ours, theirs, first, repeats),
        record("indices12_difference", float(max(gaps)), "largest |difference|"),
    ]


def index_records(quick: bool) -> list[Record]:
    """Records of both races: jaxrg's seconds, shapiq's, and their ratio; errors of both; compile times."""
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shapiq warns that the chaining index of the empty set is undefined
        repeats = 1 if quick else 3
        return [*_moebius(NUM_PLAYERS_MOEBIUS, repeats), *_indices(NUM_PLAYERS_INDICES, repeats)]
