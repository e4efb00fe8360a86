"""Runs of the Monte Carlo renormalisation study: operators, blocks, and what each part measures."""

import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import exact, lattice, models, random, rg, samplers
from jaxrg.rg import monte_carlo

# Wu and Car's, in the order of their supplement: seven pairs, six of four spins; the field and four of three spins.
EVEN = {
    "1,0": [(0, 0), (1, 0)],
    "1,1": [(0, 0), (1, 1)],
    "2,0": [(0, 0), (2, 0)],
    "2,1": [(0, 0), (2, 1)],
    "2,2": [(0, 0), (2, 2)],
    "3,0": [(0, 0), (3, 0)],
    "3,1": [(0, 0), (3, 1)],
    "square": [(0, 0), (1, 0), (0, 1), (1, 1)],
    "diamond": [(0, 0), (1, 1), (2, 0), (1, -1)],
    "T": [(0, 0), (-1, 0), (1, 0), (0, 1)],
    "L": [(0, 0), (-1, 0), (1, 0), (-1, 1)],
    "Z": [(0, 0), (0, 1), (1, 0), (-1, 1)],
    "Y": [(0, 0), (0, 1), (1, 0), (-1, -1)],
}
ODD = {
    "field": [(0, 0)],
    "corner": [(0, 0), (0, -1), (-1, 0)],
    "line": [(0, 0), (-1, 0), (1, 0)],
    "bent": [(0, 0), (1, -1), (-1, 0)],
    "wide": [(0, 0), (1, -1), (-1, -1)],
}
# Of a cubic lattice, the shortest of two and of four spins, and of one and of three.
EVEN_CUBIC = {
    "1,0,0": [(0, 0, 0), (1, 0, 0)],
    "1,1,0": [(0, 0, 0), (1, 1, 0)],
    "1,1,1": [(0, 0, 0), (1, 1, 1)],
    "2,0,0": [(0, 0, 0), (2, 0, 0)],
    "2,1,0": [(0, 0, 0), (2, 1, 0)],
    "square": [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)],
    "tetrahedron": [(0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1)],
    "rectangle": [(0, 0, 0), (1, 1, 0), (0, 0, 1), (1, 1, 1)],
}
ODD_CUBIC = {
    "field": [(0, 0, 0)],
    "corner": [(0, 0, 0), (1, 0, 0), (0, 1, 0)],
    "line": [(0, 0, 0), (1, 0, 0), (-1, 0, 0)],
    "far": [(0, 0, 0), (1, 0, 0), (0, 1, 1)],
    "triangle": [(0, 0, 0), (1, 1, 0), (1, 0, 1)],
}
CUBIC_COUPLING = 0.221654626  # critical, Ferrenberg, Xu & Landau, Phys. Rev. E 97, 043301 (2018)


def basis(side: int, even: dict, odd: dict) -> lattice.Operators:
    """Both sectors, even ones first."""
    ndim = len(next(iter(even.values()))[0])
    return lattice.operators(lattice.hypercubic((side,) * ndim), even | odd)


def majority(block: int, ndim: int, key: Any, spins: Any) -> Any:
    return rg.majority(key if block % 2 == 0 else None, spins, (block,) * ndim)


def weighted(weight: Any, key: Any, spins: Any) -> Any:
    """Block spins of 2^d sites drawn with the probability e^{w h S} / (2 cosh w S): Kadanoff's kernel."""
    sums = jnp.sum(lattice.to_blocks(spins, 2), axis=-1, dtype=jnp.int32)
    sites = jnp.arange(sums.size, dtype=jnp.uint32).reshape(sums.shape)
    is_up = random.bernoulli_logit(key, sites, 2 * weight * sums.astype(jnp.float32))
    return jnp.where(is_up, 1, -1).astype(jnp.int8)


class Sector(NamedTuple):
    """The leading eigenvalue of one sector, with its error, and the exponent that it stands for."""

    value: float
    error: float
    exponent: float
    exponent_error: float
    condition: float
    num_complex: int  # eigenvalues with an imaginary part


def sector(moments: monte_carlo.Moments, rescaling: int, which: Any, is_odd: bool, level: int = 1) -> Sector:
    found = monte_carlo.linearise(moments, rescaling, level=level, which=which, is_odd=is_odd)
    values = found.scaling.eigenvalues
    return Sector(
        float(values[0].real),
        float(found.eigenvalue_errors[0]),
        float(found.scaling.exponents[0].real),
        float(found.exponent_errors[0]),
        found.jacobian.condition_number,
        int(np.sum(np.abs(values.imag) > 1e-6 * np.abs(values))),
    )


def sectors(moments: monte_carlo.Moments, rescaling: int, num_even: int, level: int = 1) -> dict[str, Sector]:
    """Both, of operators of which the first ones are even."""
    which = np.arange(moments.means.shape[2])
    even = sector(moments, rescaling, which[:num_even], False, level)
    return {"even": even, "odd": sector(moments, rescaling, which[num_even:], True, level)}


class TableScale(NamedTuple):
    """Size of the study of Wu and Car's table."""

    side: int = 45
    num_chains: int = 128
    num_iterations: int = 200
    num_couplings: int = 8_192  # sweeps under the frozen bias of the first step, for its couplings
    num_unbiased: int = 196_608
    num_biased: int = 16_384
    num_slopes: int = 8_192
    num_bins: int = 64


COUPLING, BLOCK = 0.436, 3


def wu_car(scale: TableScale) -> dict[str, Any]:
    """Couplings after one step from K = 0.436, and the eigenvalues of the step that follows, unbiased and biased."""
    started = time.time()
    shape = (scale.side, scale.side)
    operators = basis(scale.side, EVEN, ODD)
    num_even = len(EVEN)
    even = lattice.operators(lattice.hypercubic(shape), EVEN)
    nearest = models.OperatorModel(lattice.operators(lattice.hypercubic(shape), {"1,0": EVEN["1,0"]}), [COUPLING])
    options = {"which": np.arange(num_even), "num_chains": scale.num_chains, "num_bins": scale.num_bins}
    options |= {"num_iterations": scale.num_iterations, "progress": report("variational")}
    first = monte_carlo.renormalise(jax.random.key(1), nearest, operators, num_steps=scale.num_couplings, **options)
    couplings = jnp.asarray(first.couplings, jnp.float32)
    model = models.OperatorModel(even, couplings)

    moments = unbiased(2, model, operators, scale, scale.num_unbiased)
    free = sectors(moments, BLOCK, num_even)
    seconds = time.time() - started
    second = monte_carlo.renormalise(jax.random.key(3), model, operators, num_steps=scale.num_biased, **options)
    held = sectors(second.moments, BLOCK, num_even)

    # How much of the eigenvalues' uncertainty is that of the couplings they are taken at: along the relevant direction.
    relevant = monte_carlo.linearise(moments, BLOCK, which=np.arange(num_even)).scaling
    direction, field = relevant.operators[0].real, relevant.fields[0].real
    covariance = coupling_covariance(first.moments, num_even)
    spread = float(np.sqrt(field @ covariance @ field))
    step = 0.004
    moved = [
        sectors(
            unbiased(4, shifted(model, sign * step * direction), operators, scale, scale.num_slopes), BLOCK, num_even
        )
        for sign in (1, -1)
    ]
    slopes = {name: (moved[0][name].value - moved[1][name].value) / (2 * step) for name in free}
    control = sectors(unbiased(5, nearest, operators, scale, scale.num_slopes), BLOCK, num_even)
    return {
        "couplings": dict(zip(EVEN, first.couplings.tolist(), strict=True)),
        "coupling_errors": dict(zip(EVEN, first.errors.tolist(), strict=True)),
        "next_couplings": dict(zip(EVEN, second.couplings.tolist(), strict=True)),
        "next_coupling_errors": dict(zip(EVEN, second.errors.tolist(), strict=True)),
        "unbiased": {name: found._asdict() for name, found in free.items()},
        "biased": {name: found._asdict() for name, found in held.items()},
        "relevant_spread": spread,
        "errors_from_couplings": {name: abs(slope) * spread for name, slope in slopes.items()},
        "slopes": slopes,
        "nearest_neighbour_only": {name: found._asdict() for name, found in control.items()},
        "trajectory": first.trajectory.tolist(),
        "seconds_to_unbiased": seconds,
        "seconds": time.time() - started,
    }


def shifted(model: models.OperatorModel, change: np.ndarray) -> models.OperatorModel:
    return models.OperatorModel(model.operators, jnp.asarray(model.couplings) + jnp.asarray(change, jnp.float32))


def coupling_covariance(moments: monte_carlo.Moments, num_even: int) -> np.ndarray:
    """Of the couplings that a run under a frozen bias gives, from their jackknife."""
    chosen = np.arange(num_even)
    weights = moments.counts / moments.counts.sum()
    means = moments.means[:, 1][:, chosen]
    deviations = means - weights @ means
    second = np.tensordot(weights, moments.covariances[:, 1][:, :, 1][:, :num_even, :num_even], 1)
    scatter = (deviations.T * weights) @ deviations / (len(weights) - 1)
    inverse = np.linalg.inv(second)
    return inverse @ scatter @ inverse


def unbiased(
    seed: int, model: models.OperatorModel, operators: lattice.Operators, scale: TableScale, num_steps: int
) -> monte_carlo.Moments:
    """Of a model of any operators and of its blocks."""
    sampler = monte_carlo.biased_heat_bath(model, num_chains=scale.num_chains)
    steps = monte_carlo.ladder(operators, functools.partial(majority, BLOCK, 2), 2)
    warmup = min(4 * scale.side**2, num_steps)
    start = samplers.run(jax.random.key(seed), sampler, sampler.init(jax.random.key(seed)), warmup).state
    key = jax.random.key(seed)
    watch = report("unbiased")
    return monte_carlo.measure(key, sampler, start, num_steps, steps, num_bins=scale.num_bins, progress=watch).moments


def report(name: str) -> Any:
    """A line on the way, sixteen times a run."""
    start = time.time()

    def show(done: int, total: int, text: str) -> None:
        if done % max(1, total // 8) == 0 or done == total:
            print(f"    {name} {text} {done}/{total}, {time.time() - start:.0f} s", flush=True)

    return show


class SquareScale(NamedTuple):
    """Size of the study of exponents at the exact critical point."""

    side: int = 64
    num_levels: int = 4
    num_chains: int = 256
    num_sweeps: int = 8  # between samples
    num_samples: int = 4_096  # of each chain
    warmup: int = 20_000
    num_bins: int = 64


def ising_moments(
    seed: int, side: int, coupling: float, steps: Any, scale: SquareScale, ndim: int = 2
) -> monte_carlo.Moments:
    """Of many packed chains, in equilibrium from a random start."""
    ising = models.Ising(lattice.hypercubic((side,) * ndim), coupling)
    sampler = samplers.multispin_heat_bath(ising, num_chains=scale.num_chains)
    start = samplers.run(jax.random.key(seed), sampler, sampler.init(jax.random.key(seed)), scale.warmup).state
    thinned = samplers.thin(sampler, scale.num_sweeps)
    key, watch = jax.random.key(seed + 1), report(f"L = {side}")
    count = scale.num_samples
    return monte_carlo.measure(key, thinned, start, count, steps, num_bins=scale.num_bins, progress=watch).moments


def square(scale: SquareScale, coupling: float = exact.critical_coupling) -> dict[str, Any]:
    """y_T and y_h level by level, and the critical coupling by matching with a lattice of half the side."""
    steps, moments = {}, {}
    for side, num_levels in ((scale.side, scale.num_levels), (scale.side // 2, scale.num_levels - 1)):
        ladder = monte_carlo.ladder(basis(side, EVEN, ODD), functools.partial(majority, 2, 2), num_levels)
        steps[side] = ladder
        moments[side] = ising_moments(side, side, coupling, ladder, scale)
    levels = []
    for level in range(1, scale.num_levels):
        found = sectors(moments[scale.side], 2, len(EVEN), level)
        levels.append({"side": scale.side >> level} | {name: part._asdict() for name, part in found.items()})
    matched = []
    for level in range(2, scale.num_levels):
        which = np.arange(len(EVEN))
        large, small = moments[scale.side], moments[scale.side // 2]
        found = monte_carlo.match_lattices(large, small, level=level, which=which)
        matched.append({"level": level, "coupling": coupling + found.shift, "error": found.shift_error})
    return {"coupling": coupling, "levels": levels, "matched": matched}
