"""Speed of the samplers: flips per nanosecond, per site of cluster sweeps; what sample stores survive."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import sample_store, sampler_clusters, sampler_words
from benchmarks.chains import Chain, observed
from benchmarks.timing import medians, record
from jaxrg import exact, lattice, models, samplers

CRITICAL_3D = 0.221654626
CRITICAL_XY = 1.11996


def naive_jax(side: int, coupling: float, num_sweeps: int) -> Callable[[], None]:
    """What most people write first: rolls, an int8 checkerboard mask and `jax.random.uniform`."""
    colour = jnp.asarray(lattice.checkerboard(lattice.hypercubic((side, side))))

    @jax.jit
    def sweep(key, spins):
        def half(spins, c):
            around = sum(jnp.roll(spins, step, axis) for axis in (0, 1) for step in (1, -1))
            up = jax.random.uniform(jax.random.fold_in(key, c), spins.shape) < jax.nn.sigmoid(2 * coupling * around)
            return jnp.where(colour == c, jnp.where(up, 1, -1).astype(jnp.int8), spins), None

        return jax.lax.scan(half, spins, jnp.arange(2))[0]

    state = {"spins": jnp.ones((side, side), jnp.int8)}

    def call() -> None:
        for index in range(num_sweeps):
            state["spins"] = sweep(jax.random.key(index), state["spins"])
        state["spins"].block_until_ready()

    return call


def checkerboards(quick: bool) -> list[dict[str, Any]]:
    """Multispin kernels against a numba checkerboard, naive JAX, thrml and peapods, in flips per nanosecond."""
    import numba
    import peapods

    from benchmarks.peers.numba_ising import NumbaIsing
    from benchmarks.peers.thrml_ising import ThrmlIsing

    side, num_chains, sweeps = 512, 128, 4
    peer_side, peer_sweeps = (512, 4) if quick else (1024, 10)
    repeats = 5 if quick else 15
    square = models.Ising(lattice.hypercubic((side, side)), exact.critical_coupling)
    cube = models.Ising(lattice.hypercubic((64, 64, 64)), CRITICAL_3D)
    heat_bath_chain = Chain(samplers.multispin_heat_bath(square, num_chains=num_chains), sweeps)
    numba_lattice = NumbaIsing(peer_side, exact.critical_coupling)
    thrml_side = 256 if quick else 512  # whose nodes take a quarter of a minute to make
    thrml_lattice = ThrmlIsing(thrml_side, exact.critical_coupling)
    copies = np.full(numba.get_num_threads(), 1 / exact.critical_coupling)  # a chain for every thread
    peapods_lattices = peapods.Ising((512, 512), temperatures=copies)
    times = medians(
        {
            "heat_bath": heat_bath_chain,
            "observed": observed(heat_bath_chain, square.observables),
            "metropolis": Chain(samplers.multispin_metropolis(square, num_chains=num_chains), sweeps),
            "cube": Chain(samplers.multispin_heat_bath(cube, num_chains=num_chains), sweeps),
            "numba": lambda: numba_lattice.sweep(peer_sweeps),
            "naive": naive_jax(peer_side, exact.critical_coupling, 2),
            "thrml": lambda: thrml_lattice.sweep(2),
            "peapods": lambda: peapods_lattices.sample(2, sweep_mode="gibbs", warmup_ratio=0.0),
        },
        repeats=repeats,
    )
    flips = sweeps * num_chains * side**2 * 1e-9
    heat_bath, metropolis = flips / times["heat_bath"], flips / times["metropolis"]
    cubic = sweeps * num_chains * 64**3 * 1e-9 / times["cube"]
    numba_rate = peer_sweeps * peer_side**2 * 1e-9 / times["numba"]
    unit = "flips/ns"
    peers = {
        "numba": (f"numba heat bath, {numba.get_num_threads()} threads", numba_rate),
        "thrml": (f"thrml block Gibbs, L = {thrml_side}", 2 * thrml_side**2 * 1e-9 / times["thrml"]),
        "peapods": (f"peapods Gibbs, {len(copies)} chains", 2 * len(copies) * 512**2 * 1e-9 / times["peapods"]),
        "naive_jax": ("jnp.roll + jax.random", 2 * peer_side**2 * 1e-9 / times["naive"]),
    }
    return [
        record(f"ising2d_vs_{name}", heat_bath, unit, peer=peer, peer_value=rate, ratio=heat_bath / rate)
        for name, (peer, rate) in peers.items()
    ] + [
        record("ising2d_metropolis", metropolis, unit),
        record("ising3d_heat_bath", cubic, unit),
        record("multispin_observation", times["observed"] / times["heat_bath"] - 1, "sweeps/sample"),
    ]


def states_and_angles(quick: bool) -> list[dict[str, Any]]:
    """Potts states and planar spins against numba checkerboards of one lattice, in site updates per nanosecond.

    Packed Potts states are 512 chains, updated by Metropolis; everything else is one lattice, and heat bath.
    """
    import numba

    from benchmarks.peers.numba_states import NumbaPotts, NumbaXY

    side, sweeps, repeats = (128, 10, 5) if quick else (256, 40, 25)
    square = lattice.hypercubic((side, side))
    potts, xy = models.Potts(square, 3, np.log(1 + np.sqrt(3))), models.XY(square, CRITICAL_XY)
    packed = samplers.multispin_metropolis(potts, num_chains=32 * 16)
    peers = NumbaPotts(side, 3, float(potts.coupling)), NumbaXY(side, CRITICAL_XY)
    times = medians(
        {
            "packed_potts": Chain(packed, sweeps),
            "potts": Chain(samplers.heat_bath(potts), sweeps),
            "xy": Chain(_over_relaxed(xy), sweeps),
            "numba_potts": lambda: peers[0].sweep(sweeps),
            "numba_xy": lambda: [peers[1].sweep(1) for _ in range(sweeps)],
        },
        repeats=repeats,
    )
    updates = sweeps * side**2 * 1e-9
    threads = f"{numba.get_num_threads()} threads"
    peer = f"numba heat bath of one lattice, {threads}"
    packed_rate = 32 * 16 * updates / times["packed_potts"]
    return [
        _ratio("potts3_vs_numba", packed_rate, peer, updates / times["numba_potts"]),
        _ratio("potts3_heat_bath_vs_numba", updates / times["potts"], peer, updates / times["numba_potts"]),
        _ratio(
            "xy_vs_numba",
            2 * updates / times["xy"],
            f"the same moves in numba, {threads}",
            2 * updates / times["numba_xy"],
        ),
    ]


def fields(quick: bool) -> list[dict[str, Any]]:
    """Trajectories of a real field against numba's, in leapfrog updates of a site per nanosecond."""
    import numba

    from benchmarks.peers.numba_fields import NumbaPhi4

    side, trajectories, repeats = (256, 2, 5) if quick else (256, 8, 25)
    mass_squared, quartic, step_size, num_leapfrog = -1.0, 0.5, 0.05, 10
    phi4 = models.Phi4(lattice.hypercubic((side, side)), mass_squared, quartic)
    by_hand = NumbaPhi4(side, mass_squared, quartic)
    times = medians(
        {
            "hmc": Chain(samplers.hmc(phi4, step_size, num_leapfrog), trajectories),
            "numba": lambda: by_hand.trajectories(trajectories, step_size, num_leapfrog),
        },
        repeats=repeats,
    )
    updates = trajectories * num_leapfrog * side**2 * 1e-9
    peer = f"numba, {numba.get_num_threads()} threads"
    return [_ratio("phi4_hmc_vs_numba", updates / times["hmc"], peer, updates / times["numba"])]


def _over_relaxed(model: models.XY):
    """An over-relaxation, then a heat bath, as one step."""
    moves = samplers.over_relaxation(model), samplers.heat_bath(model)

    def step(key, state):
        status = jnp.uint32(0)
        for number, move in enumerate(moves):
            after, info = move.step(jax.random.fold_in(key, number), state)
            state, status = after._replace(step=state.step), status | jnp.bitwise_or.reduce(info.status)
        return state, samplers.SpinInfo(jnp.float32(1), status)

    return samplers.from_kernel(moves[0].init, step, lambda fn, state: fn(state.field))


def _ratio(name: str, value: float, peer: str, peer_value: float) -> dict[str, Any]:
    return record(name, value, "updates/ns", peer=peer, peer_value=peer_value, ratio=value / peer_value)


def plots(folder: Path) -> None:
    """Figures of a full run, beside its records."""
    sampler_words.growth(folder)


def run(*, quick: bool) -> list[dict[str, Any]]:
    """Every record of this area."""
    return (
        checkerboards(quick)
        + sampler_words.run(quick=quick)
        + sampler_clusters.run(quick=quick)
        + states_and_angles(quick)
        + fields(quick)
        + sample_store.run(quick=quick)
    )
