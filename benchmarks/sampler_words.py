"""Words of chains, of strips and of glasses: flips per nanosecond against numba and C, memory, and how cost grows."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.chains import Chain
from benchmarks.peers import c_multispin
from benchmarks.timing import medians, record
from jaxrg import exact, lattice, models, random, samplers
from jaxrg.base import Sampler

CRITICAL_3D = 0.221654626
SIDE, NUM_CHAINS, SWEEPS = 512, 128, 4  # of square lattices: twice the spins of the large one
LARGE, LARGEST = 4096, 32_768
UNIT = "flips/ns"


def light(model: models.Ising | models.Glass, num_chains: int) -> Sampler:
    """A heat bath of light bits."""
    return samplers.multispin_heat_bath(model, num_chains=num_chains, generator=random.light_bits)


def square(side: int) -> models.Ising:
    """A critical square lattice."""
    return models.Ising(lattice.hypercubic((side, side)), exact.critical_coupling)


def speeds(quick: bool) -> list[dict[str, Any]]:
    """Chains, strips, glasses and cubes beside what is written by hand, all in one round of interleaved runs.

    All but one are compiled for vectors of 512 bits, as `samplers.run` does it, and the C on a machine that has them.
    """
    import numba

    from benchmarks.peers.numba_ising import NumbaCube, NumbaGlass, NumbaIsing

    glasses = jax.vmap(lambda key: models.plus_minus_glass(key, lattice.hypercubic((SIDE, SIDE)), 1.0))
    stack = glasses(jax.random.split(jax.random.key(3), 32))
    cube = models.Ising(lattice.hypercubic((64, 64, 64)), CRITICAL_3D)
    chains = Chain(light(square(SIDE), NUM_CHAINS), SWEEPS)
    peer, peer_cube = NumbaIsing(SIDE, exact.critical_coupling), NumbaCube(64, CRITICAL_3D)
    peer_glass = NumbaGlass(np.asarray(stack.bonds[0], np.int8), 1.0)
    contestants = {
        "chains": chains,
        "default": Chain(chains.sampler, SWEEPS, is_wide=False),
        "bits": Chain(samplers.multispin_heat_bath(square(SIDE), num_chains=NUM_CHAINS), SWEEPS),
        "strips": Chain(light(square(LARGE), 1), 2),
        "cube": Chain(light(cube, NUM_CHAINS), SWEEPS),
        "glasses": Chain(light(stack, 32), SWEEPS),
        "numba": lambda: peer.sweep(4),
        "numba_cube": lambda: peer_cube.sweep(4),
        "numba_glass": lambda: peer_glass.sweep(4),
    }
    flips = {
        "chains": SWEEPS * NUM_CHAINS * SIDE**2,
        "default": SWEEPS * NUM_CHAINS * SIDE**2,
        "bits": SWEEPS * NUM_CHAINS * SIDE**2,
        "strips": 2 * LARGE**2,
        "cube": SWEEPS * NUM_CHAINS * 64**3,
        "glasses": SWEEPS * 32 * SIDE**2,
        "c": SWEEPS * NUM_CHAINS * SIDE**2,
        "numba": 4 * SIDE**2,
        "numba_cube": 4 * 64**3,
        "numba_glass": 4 * SIDE**2,
    }
    if c_multispin.is_available():
        even, odd = chains.state.spins
        kernel = c_multispin.CMultispin(even, odd, exact.critical_coupling)
        keys = c_multispin.step_keys(jax.random.key(2), SWEEPS)
        contestants["c"] = lambda: kernel.sweep(keys)
    else:
        print("ising2d_light_vs_c is left out: there is no gcc")
    times = medians(contestants, repeats=9 if quick else 25)
    rates = {name: flips[name] * 1e-9 / seconds for name, seconds in times.items()}
    threads = f"{numba.get_num_threads()} threads"
    pairs = [
        ("ising2d_light_vs_numba", "chains", f"numba heat bath, {threads}", "numba"),
        ("ising2d_light_default_width", "default", f"numba heat bath, {threads}", "numba"),
        ("ising2d_light_vs_bits", "chains", "the default generator", "bits"),
        ("ising2d_light_wide_vectors", "chains", "vectors of XLA's choice", "default"),
        ("ising2d_light_vs_c", "chains", "C with OpenMP, same generator", "c"),
        ("ising2d_strips_vs_chains", "strips", "chains in the words", "chains"),
        ("ising3d_vs_numba", "cube", f"numba heat bath, {threads}", "numba_cube"),
        ("glass2d_vs_numba", "glasses", f"numba heat bath, {threads}", "numba_glass"),
    ]
    return [
        record(name, rates[ours], UNIT, peer=peer, peer_value=rates[theirs], ratio=rates[ours] / rates[theirs])
        for name, ours, peer, theirs in pairs
        if theirs in rates
    ]


def peak_bytes() -> list[dict[str, Any]]:
    """The most memory that a process of its own ever held which sweeps and observes 32,768 x 32,768 spins."""
    script = f"from benchmarks.sampler_words import sample_largest; sample_largest({LARGEST})"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    peak = int(found.split()[-1])
    budget = 1e9
    return [
        record("ising2d_32768_peak_bytes", peak, "bytes", peer="one gigabyte", peer_value=budget, ratio=budget / peak)
    ]


def sample_largest(side: int) -> None:
    """Two observed sweeps of one lattice; prints the peak of the resident memory, as Linux counts it."""
    ising = square(side)
    sampler = light(ising, 1)
    run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 2, observe=ising.observables)
    assert jnp.all(jnp.isfinite(run.trace.energy))
    # Not `ru_maxrss`, which a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) * 1024)


def growth(folder: Path) -> None:
    """How the rate depends on the side of the lattice and on the number of chains, as `words_growth.png`."""
    import matplotlib.pyplot as plt

    cases = {
        "strips of one lattice, by side": [(side, 1, side) for side in (64, 128, 256, 512, 1024, 2048, 4096)],
        "32 chains, by side": [(side, 32, side) for side in (64, 128, 256, 512, 1024)],
        "L = 64, by chains": [(64, num, num) for num in (32, 64, 128, 256, 512, 1024, 2048, 4096)],
    }
    figure, axes = plt.subplots()
    for label, rows in cases.items():
        rates = []
        for side, num_chains, _ in rows:
            num_steps = max(1, 2**25 // (num_chains * side**2))
            chain = Chain(light(square(side), num_chains), num_steps)
            rates.append(num_steps * num_chains * side**2 * 1e-9 / medians({"words": chain}, repeats=5)["words"])
        axes.plot([row[2] for row in rows], rates, "o-", label=label)
        print(label, [f"{row[2]}: {rate:.3g}" for row, rate in zip(rows, rates, strict=True)], UNIT)
    axes.set(xscale="log", yscale="log", xlabel="side, or chains", ylabel=UNIT)
    axes.legend()
    figure.savefig(folder / "words_growth.png", dpi=150)
    plt.close(figure)


def run(*, quick: bool) -> list[dict[str, Any]]:
    """Every record of words."""
    return speeds(quick) + peak_bytes()
