"""The driver: many steps of any sampler, jitted in chunks, observables streamed out and failures turned into errors."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import Observe, Progress, PyTree, Sampler, Status
from jaxrg.checks import check_count, is_traced
from jaxrg.closures import as_partial
from jaxrg.progress import reporting

NUM_CHUNKS = 50  # progress is reported about this often


class Run(NamedTuple):
    """What a run leaves behind."""

    state: PyTree  # after the last step
    trace: PyTree  # values of ``observe``, [num_chains, num_steps, ...]; None without it
    info: PyTree  # what the sampler says of each step, [num_chains or 1, num_steps, ...]


def _scan(key: Array, sampler: Sampler, state: PyTree, observe, *, num_steps: int) -> tuple[Run, Array]:
    """The run, and the status of all its steps together."""

    def one_step(carry, _):
        state, status = carry
        state, info = sampler.step(key, state)
        values = None if observe is None else sampler.measure(observe, state)
        return (state, status | jnp.bitwise_or.reduce(info.status)), (values, info)

    (state, status), streams = jax.lax.scan(one_step, (state, jnp.uint32(0)), length=num_steps)
    # Once, after the scan: inside it, the chains of a packed sampler would be written with strides.
    trace, info = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), streams)
    return Run(state, trace, info), status


def _poisoned(tree: PyTree, status: Array) -> PyTree:
    """NaN in every float if a step failed: under a transformation there is no host to raise an error."""

    def poison(leaf: Array) -> Array:
        return jnp.where(status == 0, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(poison, tree)


_compiled_scan = functools.partial(jax.jit, static_argnames="num_steps")(_scan)


def run(
    key: Array,
    sampler: Sampler,
    state: PyTree,
    num_steps: int,
    *,
    observe: Observe | None = None,
    progress: Progress | bool | None = None,
) -> Run:
    """Run a sampler and stream what ``observe`` sees; configurations are stored only if ``observe`` returns them.

    Step ``t`` of a chain draws from ``fold_in(key, t)`` with the counter ``state.step``: running 2n steps, or n steps
    twice with the same key, gives the same trajectory bit for bit. Couplings are leaves of the sampler: new
    temperatures do not recompile, and ``run`` may itself be vmapped or jitted; a mapped axis comes before that of the
    chains, so map the estimator too, or merge the two axes for `jaxrg.stats`. To observe every k-th step only, run
    `thin`; to keep sums in place of a trace, run `accumulate`.

    Args:
        key: typed key of the whole run.
        sampler: from a function such as `wolff` or `heat_bath`.
        state: from ``sampler.init`` or an earlier run.
        num_steps: steps to take.
        observe: function of one configuration, such as ``model.observables``; evaluated after every step.
        progress: called on the host as ``progress(steps done, num_steps, "")`` between chunks, or True for a bar; not
            under a transformation.

    Returns:
        `Run`: the last state, the trace ``[num_chains, num_steps, ...]`` of ``observe``, which is None without it, and
        the infos of all steps. A single chain has ``num_chains`` 1.

    Raises:
        ValueError: ``num_steps`` no positive integer, or an ``observe`` that is no function.
        FloatingPointError: the status of a step was not OK, as when it met a NaN. Under a transformation every float
            of the result becomes NaN instead.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> ising = models.Ising(lattice.hypercubic((8, 8)), 0.3)
        >>> sampler = samplers.heat_bath(ising)
        >>> state = sampler.init(jax.random.key(0))
        >>> state, trace, info = run(jax.random.key(1), sampler, state, 100, observe=ising.observables)
        >>> trace.energy.shape, info.acceptance.shape
        ((1, 100), (1, 100))
    """
    check_count("num_steps", num_steps)
    if observe is not None and not callable(observe):
        raise ValueError(f"observe: expected a function of one configuration, got {observe!r}")
    observe = None if observe is None else as_partial(observe)
    if is_traced((key, sampler, state, observe)):
        return _poisoned(*_scan(key, sampler, state, observe, num_steps=num_steps))

    start_state = state
    chunk = max(1, num_steps // NUM_CHUNKS) if progress else num_steps
    parts = []
    with reporting(progress, "sampling") as report:
        for start in range(0, num_steps, chunk):
            size = min(chunk, num_steps - start)
            (state, trace, info), status = _compiled_scan(key, sampler, state, observe, num_steps=size)
            if is_traced(status):  # under a transformation that only sees what is closed over
                return _poisoned(*_scan(key, sampler, start_state, observe, num_steps=num_steps))
            if int(status):
                done = int(np.max(np.asarray(state.step)))
                raise FloatingPointError(f"run: {Status(int(status)).message} at or before step {done}")
            parts.append((trace, info))
            report(start + size, num_steps, "")
    trace, info = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *parts) if parts[1:] else parts[0]
    return Run(state, trace, info)
