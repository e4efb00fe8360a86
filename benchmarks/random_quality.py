"""Write the random stream in the orders in which kernels consume it, and put it through a battery.

    python -m benchmarks.random_quality --order kernel --battery builtin
    python -m benchmarks.random_quality --order kernel --battery dieharder
    python -m benchmarks.random_quality --order steps --battery stdout | RNG_test stdin32
    python -m benchmarks.random_quality --order kernel --generator light_bits

``stdout`` writes raw native-endian uint32 for any other program, such as PractRand or a TestU01 driver.
"""

import argparse
import functools
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks.random_battery import BATTERY
from jaxrg import random
from jaxrg.samplers.bernoulli import settling_word

NUM_DRAWS = 8  # words a site, as multispin_heat_bath draws by default
SIDE = 512
GENERATORS = {"bits": random.bits, "light_bits": random.light_bits}
Bits: TypeAlias = Callable[..., tuple[Array, ...]]  # words of sites, as `random.bits`


def _colour_sites(colour: Array) -> Array:
    """Global indices of one sublattice of a square lattice, in the order of the packed array."""
    rows = lax.broadcasted_iota(jnp.uint32, (SIDE, SIDE // 2), 0)
    columns = lax.broadcasted_iota(jnp.uint32, (SIDE, SIDE // 2), 1)
    return rows * jnp.uint32(SIDE) + jnp.uint32(2) * columns + ((rows + colour) & jnp.uint32(1))


def _planes(bits: Bits, key: Array, replica: Array, colour: Array) -> tuple[Array, ...]:
    sites = _colour_sites(colour)
    return bits(key, sites, NUM_DRAWS, replicas=jnp.full_like(sites, replica))


def kernel_planes(bits: Bits, key: Array, chunk: Array) -> tuple[Array, ...]:
    """Words of chains within colours within steps: what one half-sweep after another consumes."""
    colour, replica, step = (chunk >> jnp.uint32(2)) & jnp.uint32(1), chunk & jnp.uint32(3), chunk >> jnp.uint32(3)
    return _planes(bits, jax.random.fold_in(key, step), replica, colour)


def step_planes(bits: Bits, key: Array, chunk: Array) -> tuple[Array, ...]:
    """The history of one site over 65,536 steps at a time."""
    site = chunk[None] & jnp.uint32(0xFFFF)
    steps = ((chunk >> jnp.uint32(16)) << jnp.uint32(16)) + lax.iota(jnp.uint32, 1 << 16)
    return jax.vmap(lambda step: bits(jax.random.fold_in(key, step), site, NUM_DRAWS))(steps)


def key_planes(bits: Bits, key: Array, chunk: Array) -> tuple[Array, ...]:
    """Sequential seeds key(0), key(1), ... at one site, as when every chain is given its own seed."""
    del key
    site = chunk[None] & jnp.uint32(0xFFFF)
    seeds = ((chunk >> jnp.uint32(16)) << jnp.uint32(16)) + lax.iota(jnp.uint32, 1 << 16)
    return jax.vmap(lambda seed: bits(jax.random.key(seed), site, NUM_DRAWS))(seeds)


def replica_planes(bits: Bits, key: Array, chunk: Array) -> tuple[Array, ...]:
    """What the words of different chains see at one site in one step."""
    replicas = lax.iota(jnp.uint32, 1 << 16)
    return bits(key, jnp.full_like(replicas, chunk), NUM_DRAWS, replicas=replicas)


def settle_planes(bits: Bits, key: Array, chunk: Array) -> tuple[Array, ...]:
    """The settling words that are made of the planes."""
    return (settling_word(kernel_planes(bits, key, chunk)),)


class Order(NamedTuple):
    """An order of the stream: the planes of one chunk, and whether the draws of a site come together."""

    planes: Callable[[Bits, Array, Array], tuple[Array, ...]]
    draws_first: bool


ORDERS = {
    "kernel": Order(kernel_planes, True),
    "sites": Order(kernel_planes, False),
    "steps": Order(step_planes, True),
    "steps_by_draw": Order(step_planes, False),
    "keys": Order(key_planes, True),
    "keys_by_draw": Order(key_planes, False),
    "replicas": Order(replica_planes, True),
    "settle": Order(settle_planes, True),
}


def stream(order: str, *, seed: int = 0, generator: str = "bits") -> Iterator[np.ndarray]:
    """Chunks of uint32 words of one order, without end."""
    planes_fn = jax.jit(functools.partial(ORDERS[order].planes, GENERATORS[generator], jax.random.key(seed)))
    for chunk in itertools.count():
        planes = [np.asarray(plane).reshape(-1) for plane in planes_fn(jnp.uint32(chunk))]
        yield np.stack(planes, axis=-1 if ORDERS[order].draws_first else 0).reshape(-1)


def write(order: str, pipe: BinaryIO, num_words: int | None, *, seed: int = 0, generator: str = "bits") -> None:
    """Write raw words until there are ``num_words``, or until the reader has had enough."""
    left = num_words
    try:
        for words in stream(order, seed=seed, generator=generator):
            words = words if left is None else words[:left]
            pipe.write(np.ascontiguousarray(words).tobytes())
            if left is not None:
                left -= words.size
                if left == 0:
                    return
    except BrokenPipeError:
        return


def dieharder(order: str, arguments: list[str], *, seed: int = 0, generator: str = "bits") -> list[str]:
    """Feed dieharder; the lines of its table of results, as they come."""
    command = ["dieharder", "-g", "200", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        feeder = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.random_quality",
                "--order",
                order,
                "--seed",
                str(seed),
                "--generator",
                generator,
                "--battery",
                "stdout",
            ],
            stdout=process.stdin,
        )
        process.stdin.close()
        lines = []
        for raw in process.stdout:
            line = raw.decode().rstrip()
            print(line, flush=True)
            if line.count("|") == 5 and "p-value" not in line:
                lines.append(line)
        feeder.terminate()
        feeder.wait()
    return lines


def run_dieharder(order: str, *, seed: int = 0, generator: str = "bits") -> None:
    """The whole battery, then every test that was not PASSED again, on another seed and until it is decided (-Y 1)."""
    lines = dieharder(order, ["-a"], seed=seed, generator=generator)
    counts = {verdict: sum(verdict in line for line in lines) for verdict in ("PASSED", "WEAK", "FAILED")}
    print(f"# order {order}, seed {seed}: {counts}", flush=True)
    numbers = _test_numbers()
    doubtful = {(fields[0], fields[1]) for line in lines if "PASSED" not in line for fields in [_fields(line)]}
    for name, ntuple in sorted(doubtful):
        print(f"# again: {name} ntuple {ntuple}, seed {seed + 1}", flush=True)
        dieharder(order, ["-d", numbers[name], "-n", ntuple, "-Y", "1"], seed=seed + 1, generator=generator)


def _fields(line: str) -> list[str]:
    return [field.strip() for field in line.split("|")]


def _test_numbers() -> dict[str, str]:
    """dieharder's short names, as its table prints them, to test numbers."""
    short = (
        "birthdays operm5 rank_32x32 rank_6x8 bitstream opso oqso dna count_1s_str count_1s_byt parking_lot 2dsphere"
    )
    short += " 3dsphere squeeze sums runs craps marsaglia_tsang_gcd"
    numbers = {f"diehard_{name}": str(number) for number, name in enumerate(short.split())}
    numbers["marsaglia_tsang_gcd"] = "17"
    numbers |= {"sts_monobit": "100", "sts_runs": "101", "sts_serial": "102"}
    rgb = "rgb_bitdist rgb_minimum_distance rgb_permutations rgb_lagged_sum rgb_kstest_test dab_bytedistrib dab_dct"
    rgb += " dab_filltree dab_filltree2 dab_monobit2"
    return numbers | {name: str(200 + number) for number, name in enumerate(rgb.split())}


def run_builtin(order: str, num_words: int, *, seed: int = 0, generator: str = "bits") -> bool:
    """The small battery of `benchmarks.random_battery`; prints z-scores, True if none is beyond 5."""
    parts, total = [], 0
    for words in stream(order, seed=seed, generator=generator):
        parts.append(words)
        total += words.size
        if total >= num_words:
            break
    words = np.concatenate(parts)[:num_words]
    scores = {name: test(words) for name, test in BATTERY.items()}
    for name, score in scores.items():
        print(f"{order:10s} {name:24s} z = {score:+.2f}")
    return all(abs(score) < 5 for score in scores.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--order", choices=ORDERS, default="kernel")
    parser.add_argument("--battery", choices=("builtin", "dieharder", "stdout"), default="builtin")
    parser.add_argument("--words", type=int, default=None, help="uint32 words (builtin: 2^24 by default; else no end)")
    parser.add_argument("--generator", choices=GENERATORS, default="bits")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    options = {"seed": arguments.seed, "generator": arguments.generator}
    if arguments.battery == "builtin":
        return 0 if run_builtin(arguments.order, arguments.words or 1 << 24, **options) else 1
    if arguments.battery == "dieharder":
        run_dieharder(arguments.order, **options)
        return 0
    write(arguments.order, sys.stdout.buffer, arguments.words, **options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
