"""Real-space renormalisation: the exact map of a torus beside plain NumPy, and Kadanoff's bound beside its digits."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import numpy_enumeration
from benchmarks.timing import medians, record
from jaxrg import lattice, rg
from jaxrg.rg import real_space

Record = dict[str, Any]
EVEN = ["nearest_neighbour", "next_nearest_neighbour", "plaquette"]
COUPLINGS = (0.3, 0.09, -0.001)
PUBLISHED = {"parameter": 0.765983, "thermal": 1.00088, "magnetic": 1.87532}  # J. Stat. Phys. 14, 171 (1976)


def majority_map(shape: tuple[int, int]) -> Callable[[Any], jax.Array]:
    """K' of 2 x 2 blocks of a torus, by a sum over all its states."""
    halves = (shape[0] // 2, shape[1] // 2)
    fine, coarse = (lattice.standard_operators(lattice.hypercubic(sides), EVEN) for sides in (shape, halves))
    kernel = rg.majority_kernel(2)
    return lambda couplings: real_space.coarse_couplings(couplings, fine, kernel, coarse).couplings


def first_seconds(fn: Callable[[], Any]) -> tuple[float, Any]:
    """Of a call that compiles, with its result."""
    start = time.perf_counter()
    result = jax.block_until_ready(fn())
    return time.perf_counter() - start, result


def beside_numpy(shape: tuple[int, int], repeats: int) -> list[Record]:
    """The same couplings from the same states; compilation apart."""
    flow, given = majority_map(shape), jnp.array(COUPLINGS)
    by_hand = functools.partial(numpy_enumeration.majority_couplings, np.array(COUPLINGS), shape)
    compiling, found = first_seconds(functools.partial(flow, given))
    np.testing.assert_allclose(found, by_hand(), rtol=1e-9, atol=1e-11)
    seconds = medians({"own": lambda: jax.block_until_ready(flow(given)), "numpy": by_hand}, repeats=repeats)
    name, states = f"majority_{shape[0]}x{shape[1]}", 2 ** (shape[0] * shape[1])
    return [
        record(
            f"{name}_vs_numpy",
            seconds["own"],
            f"s for {states:,} states",
            peer="plain NumPy",
            peer_value=seconds["numpy"],
            ratio=seconds["numpy"] / seconds["own"],
        ),
        record(f"{name}_first_call", compiling, "s, compilation included"),
    ]


def jacobian_cost(shape: tuple[int, int], repeats: int) -> list[Record]:
    """Forward derivatives by three couplings, in maps, and by how much they differ from NumPy's central differences."""
    flow, given, step = majority_map(shape), jnp.array(COUPLINGS), 1e-5

    def difference(place: int) -> np.ndarray:
        change = step * np.eye(3)[place]
        above, below = (
            numpy_enumeration.majority_couplings(np.array(COUPLINGS) + sign * change, shape) for sign in (1, -1)
        )
        return (above - below) / (2 * step)

    value, slopes = jax.jit(flow), jax.jit(jax.jacfwd(flow))
    expected = np.stack([difference(place) for place in range(3)], axis=1)
    error = float(np.abs(np.asarray(slopes(given)) - expected).max())
    assert error < 1e-8
    calls = {
        "value": lambda: jax.block_until_ready(value(given)),
        "slopes": lambda: jax.block_until_ready(slopes(given)),
    }
    seconds = medians(calls, repeats=repeats)
    name = f"majority_{shape[0]}x{shape[1]}_jacobian"
    return [
        record(f"{name}_cost", seconds["slopes"] / seconds["value"], "maps"),
        record(f"{name}_error", error, "from central differences of NumPy's"),
    ]


def lower_bound() -> list[Record]:
    """p* and both exponents of Kadanoff's bound beside the published digits, and seconds of a first call."""
    compiling, found = first_seconds(real_space.lower_bound_fixed_point)
    magnetic, thermal = np.asarray(rg.scaling(found.matrix, 2).exponents[:2].real)
    values = {"parameter": float(found.parameter), "thermal": float(thermal), "magnetic": float(magnetic)}
    records = []
    for name, known in PUBLISHED.items():
        assert abs(values[name] - known) < 1e-5
        label, peer = f"lower_bound_{name}", "Kadanoff, Houghton & Yalabik 1976"
        records.append(record(label, values[name], "to the last digit", peer=peer, peer_value=known))
    seconds = medians({"own": lambda: jax.block_until_ready(real_space.lower_bound_fixed_point())}, repeats=5)
    return [
        *records,
        record("lower_bound_exponent_errors", max(abs(thermal - 1), abs(magnetic - 15 / 8)), "from 1 and 15/8"),
        record("lower_bound_fixed_point_seconds", seconds["own"], "s"),
        record("lower_bound_fixed_point_first_call", compiling, "s, compilation included"),
    ]


def run(*, quick: bool) -> list[Record]:
    """All in float64; the full one has a torus of 2^24 states."""
    with jax.enable_x64(True):
        records = [
            *beside_numpy((4, 4), 5 if quick else 21),
            *jacobian_cost((4, 4), 5 if quick else 21),
            *lower_bound(),
        ]
        return records if quick else [*records, *beside_numpy((4, 6), 3)]
