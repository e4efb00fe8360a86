"""Windows of critical Ising strips, cut from configurations of the library's own cluster sampler."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import exact, lattice, models, samplers
from jaxrg.rg import information

K = float(exact.critical_coupling)

LENGTH = 512  # columns of the torus that windows are cut from
NUM_THIN = 5  # Swendsen-Wang steps between configurations


class Windows(NamedTuple):
    """Blocks and their environments; one configuration after the other, each window of all before the next."""

    visible: Array  # [samples, block sites] int8
    environment: Array  # [samples, 2 width] int8, the column before and the one that follows


def configurations(key: Array, coupling: float, width: int, num_samples: int) -> Array:
    """``[num_samples, LENGTH, width]`` int8 of a torus so long that its ends are far."""
    run_key, init_key = jax.random.split(key)
    model = models.Ising(lattice.hypercubic((LENGTH, width)), coupling)
    sampler = samplers.thin(samplers.swendsen_wang(model), NUM_THIN)
    run = samplers.run(run_key, sampler, sampler.init(init_key), 20)
    run = samplers.run(run_key, sampler, run.state, num_samples, observe=lambda spins: spins)
    return jnp.asarray(run.trace[0])


def windows(spins: Array, block: tuple[int, int], buffer: int, spacing: int) -> Windows:
    """A window every so many columns of every configuration."""
    span = block[0] + 2 * buffer + 2
    starts = np.arange(0, LENGTH, spacing)[:, None]
    at = lambda columns: spins[:, (starts + np.asarray(columns)) % LENGTH]  # noqa: E731 [samples, windows, columns, width]
    inner = at(np.arange(buffer + 1, buffer + 1 + block[0]))[..., : block[1]]
    outer = at([0, span - 1])
    return Windows(*(part.reshape(-1, part.shape[2] * part.shape[3]) for part in (inner, outer)))


class Case(NamedTuple):
    """A block on a strip, and a filter of so many units."""

    width: int
    block: tuple[int, int]
    buffer: int
    num_hidden: int
    norm: float

    def __str__(self) -> str:
        units = "1 unit" if self.num_hidden == 1 else f"{self.num_hidden} units"
        return f"W = {self.width}, {self.block[0]}x{self.block[1]}, buffer {self.buffer}, {units}"


CASES = (
    Case(4, (2, 2), 0, 1, 2.0),
    Case(6, (2, 2), 1, 1, 2.0),
    Case(6, (2, 2), 1, 2, 3.0),
    Case(8, (2, 4), 2, 1, 2.0),
)


def table(case: Case) -> Array:
    """P(v, e) at the critical point, in the default precision."""
    return information.strip_joint(jnp.float32(K), case.width, case.block, case.buffer)


def best(case: Case, *, norm: float | None = None) -> information.OptimalFilter:
    """The optimum in double precision."""
    with jax.enable_x64(True):
        exactly = information.strip_joint(K, case.width, case.block, case.buffer)
        size = case.norm if norm is None else norm
        return information.optimal_filter(jax.random.key(0), exactly, case.num_hidden, norm=size, num_starts=6)


def learned(case: Case, spins: Array, **options: Any) -> information.LearnedFilter:
    """From windows of configurations, 32 columns apart."""
    seen = windows(spins, case.block, case.buffer, 32)
    return information.learn_filter(
        jax.random.key(2), seen.visible, seen.environment, case.num_hidden, norm=case.norm, **options
    )
