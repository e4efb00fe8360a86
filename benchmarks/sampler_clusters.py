"""Speed of cluster sweeps and of single clusters, what an independent energy costs, and what compiling costs."""

import time
from typing import Any

import jax
import numpy as np

from benchmarks.chains import Chain, observed
from benchmarks.timing import medians, record
from jaxrg import exact, lattice, models, samplers, stats


def sweeps(quick: bool) -> list[dict[str, Any]]:
    """Whole Swendsen-Wang sweeps at the critical point against peapods, in nanoseconds per site and sweep."""
    import peapods

    side, num_sweeps, repeats = 512, 10, 5 if quick else 15
    square = models.Ising(lattice.hypercubic((side, side)), exact.critical_coupling)
    chain = Chain(samplers.swendsen_wang(square), num_sweeps, relax=200)

    def with_infos() -> None:
        jax.block_until_ready(
            samplers.run(jax.random.key(2), chain.sampler, chain.state, num_sweeps, observe=square.observables)
        )

    rival = peapods.Ising((side, side), temperatures=np.array([1 / exact.critical_coupling]))
    rival.sample(200, cluster_update_interval=1, cluster_mode="sw", warmup_ratio=0.0)
    times = medians(
        {
            "jaxrg": chain,
            "infos": with_infos,
            "no_infos": observed(chain, square.observables),
            # peapods adds cluster updates to single-spin sweeps; the difference of the two is the cluster update.
            "with": lambda: rival.sample(num_sweeps, cluster_update_interval=1, cluster_mode="sw", warmup_ratio=0.0),
            "without": lambda: rival.sample(num_sweeps, warmup_ratio=0.0),
        },
        repeats=repeats,
    )
    scale = 1e9 / (num_sweeps * side**2)
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
    ]


def single_clusters(quick: bool) -> list[dict[str, Any]]:
    """One Wolff chain of 512 x 512 spins against numba on one core, in nanoseconds per flipped spin."""
    from benchmarks.peers.numba_wolff import NumbaWolff

    side, repeats = 512, 5 if quick else 15
    found = []
    for name, hotter, num_clusters in (("critical", 1.0, 50), ("hot", 1.3, 3_000)):
        coupling = exact.critical_coupling / hotter
        ising = models.Ising(lattice.hypercubic((side, side)), coupling)
        start = Chain(samplers.swendsen_wang(ising), 1, relax=100).state
        chain, peer = Chain(samplers.wolff(ising), num_clusters), NumbaWolff(side, coupling)
        chain.state = start
        peer.clusters(200 if hotter == 1 else 100 * num_clusters)
        cost: dict[str, list[float]] = {"jaxrg": [], "numba": []}
        chain()
        for _ in range(repeats):
            before = chain.state
            seconds = _seconds(chain)
            flipped = samplers.run(jax.random.key(2), chain.sampler, before, num_clusters).info.cluster_size.sum()
            cost["jaxrg"].append(seconds / int(flipped))
            started = time.perf_counter()
            flipped = peer.clusters(num_clusters)
            cost["numba"].append((time.perf_counter() - started) / flipped)
        ours, theirs = (1e9 * float(np.median(values)) for values in cost.values())
        peer_name = "numba Wolff with a stack, one core"
        found.append(
            record(f"wolff_{name}_vs_numba", ours, "ns/flip", peer=peer_name, peer_value=theirs, ratio=theirs / ours)
        )
    return found


def potts_clusters(quick: bool) -> list[dict[str, Any]]:
    """One Wolff chain of 512 x 512 three-state spins where clusters are small, against a step that labels all sites."""
    potts = models.Potts(lattice.hypercubic((512, 512)), 3, np.log(1 + np.sqrt(3)) / 1.3)
    whole = Chain(samplers.swendsen_wang(potts), 5, relax=50)
    single = Chain(samplers.wolff(potts), 2_000)
    single.state = whole.state
    times = medians({"wolff": single, "labels": whole}, repeats=5 if quick else 15)
    ours, theirs = (1e6 * times[name] / chain.num_steps for name, chain in (("wolff", single), ("labels", whole)))
    peer = "a Swendsen-Wang step"
    return [record("wolff_potts3_hot", ours, "us/step", peer=peer, peer_value=theirs, ratio=theirs / ours)]


def _seconds(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def independent_energies(quick: bool) -> list[dict[str, Any]]:
    """Microseconds for an independent energy at the critical point, L = 128, all cores busy on both sides.

    Ours is 2 tau_int times the time of a sweep, of one chain among as many as a program runs best; peapods gives means
    alone: its is the time of a run times the variance of its mean, over that of one energy. The best way of each.
    """
    import peapods

    side = 128
    square = models.Ising(lattice.hypercubic((side, side)), exact.critical_coupling)
    ways = {
        "multispin heat bath": (samplers.multispin_heat_bath(square, num_chains=64), 4_000),
        "Swendsen-Wang": (samplers.swendsen_wang(square), 4_000),
        "Swendsen-Wang, 8 chains": (samplers.replicas(samplers.swendsen_wang(square), 8), 1_000),
    }
    ours = {}
    for name, (sampler, num_steps) in ways.items():
        num_steps = num_steps // 2 if quick else num_steps
        chain = Chain(sampler, max(num_steps // 10, 1), relax=num_steps // 4)
        chain()
        seconds = float(np.median([_seconds(chain) for _ in range(3)])) / chain.num_steps
        run = samplers.run(jax.random.key(5), sampler, chain.state, num_steps, observe=square.observables)
        found = stats.summary(run.trace.energy)
        ours[name] = 2 * float(found.tau_int) * seconds / run.trace.energy.shape[0]
    variance = float(exact.torus_specific_heat(exact.critical_coupling, (side, side)))
    variance /= exact.critical_coupling**2 * side**2

    theirs = {}
    for name, options in {
        "Swendsen-Wang": {"cluster_update_interval": 1, "cluster_mode": "sw"},
        "Wolff": {"cluster_update_interval": 1, "cluster_mode": "wolff"},
        **({} if quick else {"Metropolis": {}}),  # takes longest, and in full runs is not the best
    }.items():
        rival = peapods.Ising((side, side), temperatures=np.full(2, 1 / exact.critical_coupling))
        rival.sample(500, warmup_ratio=0.0, **options)
        num_sweeps, num_runs = 100 if options else 2_000, 40 if quick else 150
        means, started = [], time.perf_counter()
        for _ in range(num_runs):
            rival.sample(num_sweeps, warmup_ratio=0.0, **options)
            means.append(np.asarray(rival.energies_avg))
        seconds = time.perf_counter() - started
        # Two chains side by side: the variance of the mean of both is half of that of one.
        theirs[name] = seconds / num_runs * float(np.var(means, axis=0, ddof=1).mean()) / 2 / variance
    (best, ours_best), (rival_best, theirs_best) = (
        min(way.items(), key=lambda item: item[1]) for way in (ours, theirs)
    )
    return [
        record(
            "independent_energy_vs_peapods",
            1e6 * ours_best,
            f"us, {best}",
            peer=f"peapods {rival_best}",
            peer_value=1e6 * theirs_best,
            ratio=theirs_best / ours_best,
        )
    ]


def compilation(quick: bool) -> list[dict[str, Any]]:
    """The longest time that a sampler takes to compile, and programs compiled for new couplings."""
    square = lattice.hypercubic((64, 64))
    makers = {
        name: getattr(samplers, name)
        for name in ("heat_bath", "metropolis", "random_scan_metropolis", "swendsen_wang", "wolff")
    }
    makers |= {
        name: lambda model, name=name: getattr(samplers, name)(model, num_chains=64)
        for name in ("multispin_heat_bath", "multispin_metropolis")
    }
    longest, slowest, traces = 0.0, "", []

    def one_step(sampler, key, state):
        traces.append(state)
        return sampler.step(key, state)

    for name, make in makers.items():
        step = jax.jit(one_step)
        first, other = (make(models.Ising(square, coupling)) for coupling in (0.44, 0.41))
        state, key = first.init(jax.random.key(0)), jax.random.key(1)
        lowered = step.lower(first, key, state)
        started = time.perf_counter()
        lowered.compile()
        seconds = time.perf_counter() - started
        if seconds > longest:
            longest, slowest = seconds, name
        step(first, key, state)
        step(other, key, state)
    return [
        record("sampler_compile_seconds", longest, f"s, {slowest}"),
        record("sampler_recompiles", float(len(traces) - len(makers)), "programs"),
    ]


def run(*, quick: bool) -> list[dict[str, Any]]:
    """Every record of clusters and of compiling."""
    return (
        sweeps(quick)
        + single_clusters(quick)
        + potts_clusters(quick)
        + independent_energies(quick)
        + compilation(quick)
    )
