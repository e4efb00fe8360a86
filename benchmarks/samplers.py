"""Speed of the samplers: flips per nanosecond of checkerboards, nanoseconds per site of cluster sweeps."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import medians, record
from jaxrg import exact, lattice, models, samplers

CRITICAL_3D = 0.221654626
CRITICAL_XY = 1.11996


class Chain:
    """A sampler that goes on from where it was; a call is ``num_steps`` steps and waits for them."""

    def __init__(self, sampler, num_steps: int, *, relax: int = 0):
        self.sampler, self.num_steps = sampler, num_steps
        self.state = sampler.init(jax.random.key(0))
        if relax:
            self.state = samplers.run(jax.random.key(1), sampler, self.state, relax).state

    def __call__(self) -> None:
        self.state = jax.block_until_ready(self._advance(self.sampler, self.state, self.num_steps))

    @staticmethod
    @functools.partial(jax.jit, static_argnums=2)
    def _advance(sampler, state, num_steps):
        # No observables and no infos leave the scan: this is the price of the steps alone.
        return samplers.run(jax.random.key(2), sampler, state, num_steps).state


def observed(chain: Chain, observe: Callable) -> Callable[[], Any]:
    """The same steps, every one of them observed; the infos are dropped here too."""
    trace = jax.jit(
        lambda sampler, state: samplers.run(jax.random.key(2), sampler, state, chain.num_steps, observe=observe).trace
    )
    return lambda: jax.block_until_ready(trace(chain.sampler, chain.state))


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
    """Multispin kernels against a hand-written numba checkerboard and naive JAX, in flips per nanosecond."""
    import numba

    from benchmarks.peers.numba_ising import NumbaIsing

    side, num_chains, sweeps = (256, 64, 2) if quick else (512, 128, 4)
    peer_side, peer_sweeps = (512, 4) if quick else (1024, 10)
    repeats = 5 if quick else 15
    square = models.Ising(lattice.hypercubic((side, side)), exact.critical_coupling)
    cube = models.Ising(lattice.hypercubic((64, 64, 64)), CRITICAL_3D)
    heat_bath_chain = Chain(samplers.multispin_heat_bath(square, num_chains=num_chains), sweeps)
    numba_lattice = NumbaIsing(peer_side, exact.critical_coupling)
    times = medians(
        {
            "heat_bath": heat_bath_chain,
            "observed": observed(heat_bath_chain, square.observables),
            "metropolis": Chain(samplers.multispin_metropolis(square, num_chains=num_chains), sweeps),
            "cube": Chain(samplers.multispin_heat_bath(cube, num_chains=num_chains), sweeps),
            "numba": lambda: numba_lattice.sweep(peer_sweeps),
            "naive": naive_jax(peer_side, exact.critical_coupling, 2),
        },
        repeats=repeats,
    )
    flips = sweeps * num_chains * side**2 * 1e-9
    heat_bath, metropolis = flips / times["heat_bath"], flips / times["metropolis"]
    cubic = sweeps * num_chains * 64**3 * 1e-9 / times["cube"]
    numba_rate = peer_sweeps * peer_side**2 * 1e-9 / times["numba"]
    naive_rate = 2 * peer_side**2 * 1e-9 / times["naive"]
    unit = "flips/ns"
    return [
        record(
            "ising2d_vs_numba",
            heat_bath,
            unit,
            peer=f"numba heat bath, {numba.get_num_threads()} threads",
            peer_value=numba_rate,
            ratio=heat_bath / numba_rate,
        ),
        record(
            "ising2d_vs_naive_jax",
            heat_bath,
            unit,
            peer="jnp.roll + jax.random",
            peer_value=naive_rate,
            ratio=heat_bath / naive_rate,
        ),
        record("ising2d_metropolis", metropolis, unit),
        record("ising3d_heat_bath", cubic, unit),
        record("multispin_observation", times["observed"] / times["heat_bath"] - 1, "sweeps/sample"),
    ]


def clusters(quick: bool) -> list[dict[str, Any]]:
    """Whole Swendsen-Wang sweeps at the critical point against peapods, in nanoseconds per site and sweep."""
    import peapods

    side, sweeps, repeats = (128, 5, 5) if quick else (512, 10, 9)
    square = models.Ising(lattice.hypercubic((side, side)), exact.critical_coupling)
    chain = Chain(samplers.swendsen_wang(square), sweeps, relax=50 if quick else 200)
    wolff = Chain(samplers.wolff(square), sweeps, relax=50 if quick else 200)

    def with_infos() -> None:
        jax.block_until_ready(
            samplers.run(jax.random.key(2), chain.sampler, chain.state, sweeps, observe=square.observables)
        )

    rival = peapods.Ising((side, side), temperatures=np.array([1 / exact.critical_coupling]))
    rival.sample(50 if quick else 200, cluster_update_interval=1, cluster_mode="sw", warmup_ratio=0.0)
    times = medians(
        {
            "jaxrg": chain,
            "wolff": wolff,
            "infos": with_infos,
            "no_infos": observed(chain, square.observables),
            # peapods adds cluster updates to single-spin sweeps; the difference of the two is the cluster update.
            "with": lambda: rival.sample(sweeps, cluster_update_interval=1, cluster_mode="sw", warmup_ratio=0.0),
            "without": lambda: rival.sample(sweeps, warmup_ratio=0.0),
        },
        repeats=repeats,
    )
    scale = 1e9 / (sweeps * side**2)
    # A difference of medians: on a noisy machine it can come out negative, and is then no measurement.
    ours, theirs = times["jaxrg"] * scale, max(times["with"] - times["without"], 0.0) * scale
    return [
        record(
            "swendsen_wang_vs_peapods",
            ours,
            "ns/site/sweep",
            peer="peapods Swendsen-Wang",
            peer_value=theirs,
            ratio=theirs / ours,
        ),
        record(
            "swendsen_wang_infos",
            times["infos"] * scale,
            "ns/site/sweep",
            peer="the same observed run, infos dropped",
            peer_value=times["no_infos"] * scale,
            ratio=times["no_infos"] / times["infos"],
        ),
        record("wolff_cluster", times["wolff"] * scale, "ns/site/cluster"),
    ]


def states_and_angles(quick: bool) -> list[dict[str, Any]]:
    """A lattice of Potts states and one of planar spins against numba checkerboards, in site updates per nanosecond."""
    import numba

    from benchmarks.peers.numba_states import NumbaPotts, NumbaXY

    side, sweeps, repeats = (128, 10, 5) if quick else (256, 40, 25)
    square = lattice.hypercubic((side, side))
    potts, xy = models.Potts(square, 3, np.log(1 + np.sqrt(3))), models.XY(square, CRITICAL_XY)
    peers = NumbaPotts(side, 3, float(potts.coupling)), NumbaXY(side, CRITICAL_XY)
    times = medians(
        {
            "potts": Chain(samplers.heat_bath(potts), sweeps),
            "xy": Chain(_over_relaxed(xy), sweeps),
            "numba_potts": lambda: peers[0].sweep(sweeps),
            "numba_xy": lambda: [peers[1].sweep(1) for _ in range(sweeps)],
        },
        repeats=repeats,
    )
    updates = sweeps * side**2 * 1e-9
    peer = f"numba, {numba.get_num_threads()} threads"
    return [
        _ratio("potts3_vs_numba", updates / times["potts"], peer, updates / times["numba_potts"]),
        _ratio("xy_vs_numba", 2 * updates / times["xy"], peer, 2 * updates / times["numba_xy"]),
    ]


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


def run(*, quick: bool) -> list[dict[str, Any]]:
    """Every record of this area."""
    return checkerboards(quick) + states_and_angles(quick) + clusters(quick)
