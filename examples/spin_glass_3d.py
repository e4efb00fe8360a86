# %% [markdown]
# # The spin glass transition in three dimensions
# Parallel tempering of pairs of replicas of the ±J Edwards-Anderson glass. The second-moment length of the overlap over
# L, and its Binder cumulant, are the same for L and 2 L near Tc; P(q) stays broad below it. Temperatures share their
# glasses, so errors are from leaving out glasses. Runs are held to equilibrium: averages over doubling times must
# agree, and with Gaussian couplings energy and link overlap must be one. In two dimensions, where clusters of the
# overlap do not percolate, Houdayer's moves are compared with none.

# %%
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import _study as study
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.tree_util import Partial
from matplotlib.figure import Figure

from jaxrg import lattice, models, samplers, stats
from jaxrg.samplers import ensembles
from jaxrg.stats import scaling

CRITICAL = 1.1019  # Tc of ±J, +- 0.0029: Baity-Jesi et al., Phys. Rev. B 88, 224416 (2013)
LENGTH = 0.652  # xi / L at Tc, +- 0.003: the same


class Scale(NamedTuple):
    """How much is sampled."""

    sizes: tuple[int, ...] = (4, 6, 8)
    num_glasses: tuple[int, ...] = (768, 192, 288)
    num_steps: tuple[int, ...] = (400, 800, 1_600)  # measurements, of which the first half is left out
    stride: int = 10  # sweeps for one measurement
    batch: int = 48  # glasses side by side
    temperatures: tuple[float, ...] = tuple(np.linspace(0.95, 2.0, 16).tolist())
    plane: int = 16  # side of the two-dimensional glass
    plane_temperatures: tuple[float, ...] = tuple(np.linspace(0.3, 1.5, 16).tolist())
    plane_glasses: int = 16
    plane_steps: int = 1_200


SMOKE = Scale((3, 4), (8, 8), (40, 40), 1, 8, (1.0, 1.5, 2.0), 6, (0.5, 1.0, 1.5), 8, 40)


class Seen(NamedTuple):
    """One measurement of a pair of replicas."""

    energy: Any  # a site, in units of J
    overlap: Any
    link: Any
    zero: Any  # structure factor of the overlap at k = 0
    one: Any  # and at the smallest wave vectors, mean of the axes


# %%
def observe(pair: models.TwoReplicas, spins: jax.Array) -> Seen:
    energy, overlap, link = pair.observables(spins)
    factor = stats.correlations.structure_factor(spins[0] * spins[1])
    ndim = spins.ndim - 1
    smallest = [factor[tuple(int(axis == other) for other in range(ndim))] for axis in range(ndim)]
    return Seen(energy, overlap, link, factor[(0,) * ndim], sum(smallest) / ndim)


@functools.partial(jax.jit, static_argnames=("geometry", "make", "num_steps", "stride"))
def tempered(
    keys: jax.Array, bonds: jax.Array, couplings: jax.Array, geometry: Any, make: Any, num_steps: int, stride: int
) -> tuple[Seen, Any]:
    """``[glasses, couplings, measurements]``, and what the samplers said."""

    def one(key: jax.Array, bonds: jax.Array) -> tuple[Seen, Any]:
        start_key, run_key = jax.random.split(key)

        def family(coupling: jax.Array) -> models.TwoReplicas:
            return models.TwoReplicas(models.Glass(geometry, bonds, coupling))

        sampler = ensembles.parallel_tempering(family, couplings, sampler=make)
        # The energy that is observed is in units of J, whatever the coupling.
        run = samplers.run(
            run_key,
            samplers.thin(sampler, stride),
            sampler.init(start_key),
            num_steps,
            observe=Partial(observe, family(couplings[0])),
        )
        info = run.info.chains
        ratio = info.cluster_size / jnp.maximum(info.num_candidates, 1) if hasattr(info, "cluster_size") else 1.0
        return run.trace, (run.info.swap_acceptance[0], jnp.broadcast_to(ratio, run.info.walker.shape))

    return jax.vmap(one)(keys, bonds)


def batches(key: jax.Array, scale: Scale, side: int, ndim: int, temperatures: Any, options: Any) -> tuple:
    """Measurements of all glasses, ``[glasses, couplings, measurements]``."""
    num_glasses, num_steps, stride, draw, make = options
    geometry = lattice.hypercubic((side,) * ndim)
    draw_keys, run_keys = (jax.random.split(one, num_glasses) for one in jax.random.split(key))
    couplings = 1 / jnp.asarray(temperatures)
    parts = []
    for start in range(0, num_glasses, scale.batch):
        some = slice(start, start + scale.batch)
        bonds = jax.vmap(lambda key: draw(key, geometry).bonds)(draw_keys[some])
        found = tempered(run_keys[some], bonds, couplings, geometry, make, num_steps, stride)
        parts.append(jax.tree.map(np.asarray, found))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


# %%
class Curves(NamedTuple):
    """Functions of temperature, means over glasses, with errors."""

    length: tuple[np.ndarray, np.ndarray]  # xi / L
    binder: tuple[np.ndarray, np.ndarray]  # (3 - [<q^4>] / [<q^2>]^2) / 2
    means: dict[str, tuple]  # of both, a function of means over glasses and its [glasses, temperatures]
    drift: np.ndarray  # [3] [<q^2>] at the lowest temperature in the second eighth, quarter and half of the time
    drift_error: np.ndarray
    seen: Seen  # the last half


def jackknifed(fn: Any, samples: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A function of means over glasses ``[glasses, ...]``, and its error by leaving out each of them."""
    count = len(samples[0])
    totals = [sample.sum(axis=0) for sample in samples]
    left = np.stack(
        [fn(*((t - s[g]) / (count - 1) for t, s in zip(totals, samples, strict=True))) for g in range(count)]
    )
    value = fn(*(total / count for total in totals))
    return value, np.sqrt((count - 1) * np.mean((left - left.mean(axis=0)) ** 2, axis=0))


def curves(seen: Seen, side: int) -> Curves:
    """Of the second half of the time."""
    num_steps = seen.overlap.shape[2]
    half = jax.tree.map(lambda leaf: leaf[:, :, num_steps // 2 :].astype(float), seen)

    def length(zero: np.ndarray, one: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(zero / one - 1, 0)) / (2 * np.sin(np.pi / side)) / side

    def binder(square: np.ndarray, fourth: np.ndarray) -> np.ndarray:
        return (3 - fourth / square**2) / 2

    means = {
        "length": (length, half.zero.mean(axis=2), half.one.mean(axis=2)),
        "binder": (binder, *((half.overlap**power).mean(axis=2) for power in (2, 4))),
    }
    squares = seen.overlap[:, 0].astype(float) ** 2
    bins = [squares[:, num_steps >> (n + 1) : num_steps >> n].mean(axis=1) for n in (2, 1, 0)]
    drift = [study.mean_and_error(values) for values in bins]
    return Curves(
        jackknifed(means["length"][0], means["length"][1:]),
        jackknifed(means["binder"][0], means["binder"][1:]),
        means,
        np.array([float(mean) for mean, _ in drift]),
        # Of the change to the next one: glasses differ by far more than times.
        np.array([float(study.mean_and_error(b - a)[1]) for a, b in zip(bins, [*bins[1:], bins[-2]], strict=True)]),
        half,
    )


def crossing(temperatures: np.ndarray, name: str, small: Curves, large: Curves) -> tuple[float, float]:
    """Where two curves cross, by the temperatures around the transition; its error from leaving out glasses."""
    near = np.abs(temperatures - 1.15) < 0.3
    near = near if near.sum() > 2 else np.ones_like(near)
    (a, a_error), (b, b_error) = ((part[near] for part in getattr(curves, name)) for curves in (small, large))

    def cut(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        data = (jnp.asarray(x, jnp.float32) for x in (temperatures[near], first, second, a_error, b_error))
        return np.asarray(scaling.crossing(*data, degree=1).location)

    (fn, *of_small), (_, *of_large) = small.means[name], large.means[name]
    with_large, with_small = (lambda *means: cut(fn(*means)[near], b)), (lambda *means: cut(a, fn(*means)[near]))
    location, error = jackknifed(with_large, of_small)
    return float(location), float(np.hypot(error, jackknifed(with_small, of_large)[1]))


# %%
def gaussian_identity(key: jax.Array, scale: Scale) -> tuple[float, float]:
    """[u] + K (N_b / N) (1 - [q_l]) of the smallest size, at its lowest temperature: zero in equilibrium; its error."""
    options = scale.num_glasses[0], scale.num_steps[0], scale.stride, models.gaussian_glass, samplers.heat_bath
    seen, _ = batches(key, scale, scale.sizes[0], 3, scale.temperatures, options)
    half = jax.tree.map(lambda leaf: leaf[:, :, leaf.shape[2] // 2 :].mean(axis=2), seen)
    sums = half.energy + 3 / np.asarray(scale.temperatures) * (1 - half.link)
    mean, error = study.mean_and_error(sums[:, 0])
    return float(mean), float(error)


def gain(key: jax.Array, scale: Scale) -> dict[str, tuple]:
    """In two dimensions: times of the overlap with and without Houdayer's moves, and shares of the candidates."""
    found = {}
    for name, make in (("none", samplers.heat_bath), ("houdayer", ensembles.houdayer)):
        options = scale.plane_glasses, scale.plane_steps, 1, models.plus_minus_glass, make
        seen, (_, share) = batches(key, scale, scale.plane, 2, scale.plane_temperatures, options)
        start = scale.plane_steps // 4
        series = jnp.asarray(np.swapaxes(seen.overlap[:, :4, start:], 0, 1))  # of the coldest four
        times = [float(stats.summary(one**2).tau_int) for one in series]
        early = (seen.overlap[:, 0, : scale.plane_steps // 8] ** 2).mean()
        late = (seen.overlap[:, 0, scale.plane_steps // 2 :] ** 2).mean(axis=1)
        found[name] = times, float(share.mean()), float(early), study.mean_and_error(late)
    return found


def density(overlaps: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """q and P(q), means over windows about 1/16 wide of the values that q can take, which are 2 / N apart."""
    num_sites = side**3
    counts = np.bincount(np.rint((overlaps.ravel() + 1) * num_sites / 2).astype(int), minlength=num_sites + 1)
    heights = (counts + counts[::-1]) / counts.sum() * num_sites / 4
    window = np.full(max(1, num_sites // 32), 1 / max(1, num_sites // 32))
    values = np.linspace(-1, 1, num_sites + 1)
    return np.convolve(values, window, "valid"), np.convolve(heights, window, "valid")


def figure(temperatures: np.ndarray, found: dict[int, Curves], drifts: dict[int, np.ndarray]) -> Figure:
    """Both crossings, P(q) at the lowest temperature, and averages over doubling times."""
    drawn, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for side, curve in found.items():
        label = f"$L = {side}$"
        axes[0, 0].errorbar(temperatures, *curve.length, marker="o", markersize=3, linewidth=1, label=label)
        axes[0, 1].errorbar(temperatures, *curve.binder, marker="o", markersize=3, linewidth=1, label=label)
        axes[1, 0].plot(*density(curve.seen.overlap[:, 0], side), linewidth=1, label=label)
        times = 2.0 ** np.arange(-2, 1)
        axes[1, 1].errorbar(times, drifts[side], curve.drift_error, marker="o", markersize=4, label=label)
    for axis, name in ((axes[0, 0], "$\\xi / L$"), (axes[0, 1], "Binder cumulant of $q$")):
        axis.axvline(CRITICAL, color="0.6", linewidth=1)
        axis.set(xlabel="temperature $T / J$", ylabel=name)
    axes[0, 0].legend()
    axes[1, 0].set(xlabel="overlap $q$", ylabel=f"$P(q)$ at $T = {temperatures[0]:.2f}$")
    axes[1, 1].set(xscale="log", xlabel="end of the bin / run", ylabel="$[\\langle q^2 \\rangle]$, coldest")
    axes[1, 1].set_xticks(2.0 ** np.arange(-2, 1), labels=["1/4", "1/2", "1"])
    axes[1, 1].minorticks_off()
    return drawn


def main(smoke: bool = False, out: str | Path = "out/spin_glass_3d") -> None:
    scale = SMOKE if smoke else Scale()
    temperatures, found = np.asarray(scale.temperatures), {}
    for number, side in enumerate(scale.sizes):
        options = (*(of[number] for of in (scale.num_glasses, scale.num_steps)), scale.stride)
        key = jax.random.fold_in(jax.random.key(0), number)
        seen, (swaps, _) = batches(
            key, scale, side, 3, temperatures, (*options, models.plus_minus_glass, samplers.heat_bath)
        )
        found[side] = curves(seen, side)
        print(
            f"L = {side}: [<q²>] {found[side].drift.round(4)}, least swaps {swaps.mean(axis=(0, 1)).min():.2f}",
            flush=True,
        )
    sides, rows = list(scale.sizes), [study.HEADER]
    for name, label in (("length", "Tc, ξ/L"), ("binder", "Tc, Binder cumulant")):
        small, large = sides[0], sides[-1]
        cut = study.show(*crossing(temperatures, name, found[small], found[large]), 3)
        counts = " and ".join(str(scale.num_glasses[number]) for number in (0, -1))
        claim = f"{label} of L = {small} and {large} cross"
        rows.append(study.Claim(claim, "1.1019(29)", cut, f"errors from {counts} glasses"))
    lengths = [
        [np.interp(CRITICAL, temperatures, part) for part in found[side].length] for side in (sides[-1], sides[0])
    ]
    texts = [study.show(value, error, 3) for value, error in lengths]
    rows.append(study.Claim(f"ξ/L at Tc, L = {sides[-1]}", "0.652(3)", texts[0], f"L = {sides[0]}: {texts[1]}"))
    last = found[sides[-1]]
    change, error = last.drift[2] - last.drift[1], last.drift_error[1]
    early = last.drift[1] - last.drift[0]
    rows.append(
        study.Claim(
            f"in equilibrium, T = {temperatures[0]:.2f}: [<q²>] of the last half and of the quarter before",
            "equal",
            study.show(change, error, 4, "+"),
            f"a quarter and the eighth before: {study.show(early, last.drift_error[0], 4, '+')}",
        )
    )
    identity = gaussian_identity(jax.random.key(1), scale)
    rows.append(
        study.Claim("Gaussian couplings, [u] + 3 K (1 - [q_l])", "0", study.show(*identity, 4, "+"), "ΔH of one bond")
    )
    times = gain(jax.random.key(2), scale)
    (with_moves, share, *_), (without, *_) = times["houdayer"], times["none"]
    rows.append(
        study.Claim(
            f"two dimensions, L = {scale.plane}: τ of q² in sweeps at T = {scale.plane_temperatures[0]:.2f}",
            "shorter with Houdayer's moves",
            f"{with_moves[0]:.0f}; a cluster is {share:.2f} of its candidates",
            f"{without[0]:.0f} without",
        )
    )
    study.print_claims(rows)
    drawn = figure(temperatures, found, {side: curve.drift for side, curve in found.items()})
    study.save({"spin_glass_3d": drawn}, out)
    plt.close(drawn)


# %%
if __name__ == "__main__":
    study.run_main(main, "The spin glass transition in three dimensions by parallel tempering.")
