"""Monte Carlo renormalisation: eigenvalues beside the published ones, and the speed of measuring beside plain NumPy."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import medians, record
from jaxrg import exact, lattice, models, rg, samplers
from jaxrg.rg import monte_carlo

Record = dict[str, Any]
RESULTS = Path(__file__).parent / "results" / "mcrg_table_45.json"  # of examples/mcrg_exponents.py --parts table
PUBLISHED = {"even": 2.970, "odd": 7.7171}  # L = 45 unbiased, Wu & Car, Phys. Rev. Lett. 119, 220602 (2017)
EVEN = {"1,0": [(0, 0), (1, 0)], "1,1": [(0, 0), (1, 1)], "2,0": [(0, 0), (2, 0)]}
EVEN |= {"square": [(0, 0), (1, 0), (0, 1), (1, 1)], "T": [(0, 0), (-1, 0), (1, 0), (0, 1)]}
ODD = {"field": [(0, 0)], "corner": [(0, 0), (0, -1), (-1, 0)]}


def majority(key: jax.Array, spins: jax.Array) -> jax.Array:
    return rg.majority(key, spins, 2)


def numpy_moments(spins: np.ndarray, operators: lattice.Operators, random: np.random.Generator) -> np.ndarray:
    """Means and second moments of operators of a batch and of its blocks: rolls, products and a product of matrices."""
    values = []
    for level in range(2):
        if level:
            num, side, _ = spins.shape
            sums = spins.reshape(num, side // 2, 2, side // 2, 2).sum((2, 4))
            spins = np.where(sums == 0, random.choice([-1, 1], sums.shape), np.sign(sums)).astype(np.int8)
        for orbit in operators.terms:
            total = np.zeros(len(spins))
            for term in orbit:
                moved = [np.roll(spins, tuple(-step for step in offset), (1, 2)) for offset in term]
                total += functools.reduce(np.multiply, moved).sum((1, 2))
            values.append(total)
    table = np.stack(values, axis=1)
    return table.T @ table


def run(*, quick: bool) -> list[Record]:
    """Exponents of one step at the critical point, the study's eigenvalues, and seconds for the moments of a batch."""
    side, num_chains, num_steps = (16, 256, 64) if quick else (64, 256, 2_048)
    square = lattice.hypercubic((side, side))
    operators = lattice.operators(square, EVEN | ODD)
    steps = monte_carlo.ladder(operators, majority)
    ising = models.Ising(square, exact.critical_coupling)
    sampler = samplers.multispin_heat_bath(ising, num_chains=num_chains)
    warmup = 4 * side**2 if quick else 20_000
    start = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), warmup).state
    run_key = jax.random.key(2)
    found = monte_carlo.measure(run_key, samplers.thin(sampler, 4), start, num_steps, steps, num_bins=32)
    records = []
    sectors = {"even": (range(len(EVEN)), 1.0), "odd": (range(len(EVEN), len(operators)), 15 / 8)}
    for name, (which, known) in sectors.items():
        step = monte_carlo.linearise(found.moments, 2, which=which, is_odd=name == "odd")
        exponent = {"even": "thermal", "odd": "magnetic"}[name]
        value, error = float(step.scaling.exponents[0].real), float(step.exponent_errors[0])
        records.append(
            record(
                f"mcrg_{exponent}_exponent", value, f"one step of 2 x 2 from L = {side}", peer="exact", peer_value=known
            )
        )
        records.append(record(f"mcrg_{exponent}_exponent_error", error, "one standard deviation"))
    return records + table_records() + [speed(operators, steps, found.state)]


def table_records() -> list[Record]:
    """What the study of Wu and Car's table has left in the results: statistical errors, and those of the couplings."""
    table = json.loads(RESULTS.read_text())["table"]
    records = []
    for name, published in PUBLISHED.items():
        part = table["unbiased"][name]
        label, peer = f"mcrg_lambda_{name}", "Wu & Car 2017, L = 45 unbiased"
        records.append(
            record(
                label,
                part["value"],
                "3 x 3 majority, K = 0.436; stored by examples/mcrg_exponents.py",
                peer=peer,
                peer_value=published,
            )
        )
        records.append(record(f"{label}_error", part["error"], "one standard deviation, stored"))
        couplings = table["errors_from_couplings"][name]
        records.append(record(f"{label}_error_of_couplings", couplings, "one standard deviation, stored"))
    return records


def speed(operators: lattice.Operators, steps: monte_carlo.Ladder, state: Any) -> Record:
    """Seconds for the moments of all chains of a state, in NumPy and here."""
    ising = models.Ising(operators.lattice, exact.critical_coupling)
    sampler = samplers.multispin_heat_bath(ising, num_chains=32 * state.even.shape[0])
    spins = jax.block_until_ready(sampler.measure(lambda configuration: configuration, state)).astype(jnp.int8)
    host, random = np.asarray(spins), np.random.default_rng(0)
    key = jax.random.key(0)
    contestants = {
        "own": lambda: monte_carlo.moments(key, spins, steps, num_bins=2),
        "numpy": lambda: numpy_moments(host, operators, random),
    }
    seconds = medians(contestants, repeats=5)
    return record(
        "mcrg_moments_vs_numpy",
        seconds["own"],
        f"s for {len(host)} configurations",
        peer="NumPy rolls",
        peer_value=seconds["numpy"],
        ratio=seconds["numpy"] / seconds["own"],
    )
