"""The driver: many steps of any sampler, jitted in chunks, observables streamed out and failures turned into errors."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import Observe, Progress, PyTree, Sampler, Status
from jaxrg.checks import as_count, check_function, check_key, is_traced, kind_of, takes
from jaxrg.closures import as_partial
from jaxrg.progress import reporting
from jaxrg.samplers.combinators import AccumulatorState
from jaxrg.samplers.derivatives import without_derivatives
from jaxrg.samplers.kernels import check_sampler, poisoned
from jaxrg.samplers.wide import Wide

NUM_CHUNKS = 50  # progress is reported about this often
CHUNK_STEPS = 4096  # steps of one program: starting it costs far less than they do
CHUNK_BYTES = 2**20  # and what it may write, so that a short run does not clear a long buffer


class Run(NamedTuple):
    """What a run leaves behind."""

    state: PyTree  # after the last step
    trace: PyTree  # values of ``observe``, [num_chains, num_steps, ...]; None without it
    info: PyTree  # what the sampler says of each step, [num_chains or 1, num_steps, ...]


@jax.jit
def _one_step(key: Array, sampler: Sampler, state: PyTree, observe) -> tuple[PyTree, tuple[PyTree, PyTree]]:
    """The next state, and what streams out of it: the values observed and the info, both ``[num_chains, ...]``."""
    _check_alike("state", jax.eval_shape(sampler.init, key), state)
    after, info = sampler.step(key, state)
    _check_alike("state after a step", jax.eval_shape(lambda leaves: leaves, state), after)
    if not hasattr(info, "status"):
        raise ValueError(f"sampler: expected infos with a field status, got {type(info).__name__}")
    return after, (None if observe is None else sampler.measure(observe, after), info)


def _guarded(sampler: Sampler, state: PyTree) -> tuple[Sampler, PyTree]:
    """The chain, closed to derivatives."""
    if isinstance(state, AccumulatorState):  # which has observables inside, and guards its own chain
        return sampler, state
    step, state = without_derivatives((sampler.step, state))
    return sampler._replace(step=step), state


def _check_alike(name: str, expected: PyTree, found: PyTree) -> None:
    """Raise ValueError unless a state has the type and the shapes of another, the expected one."""
    if jax.tree.structure(found) != jax.tree.structure(expected):
        raise ValueError(
            f"{name}: expected {_typed(expected)}, got {_typed(found)}; make it with the init of this sampler"
        )
    for (path, want), leaf in zip(jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(found), strict=True):
        if np.shape(leaf) != want.shape or jnp.result_type(leaf) != want.dtype:
            raise ValueError(
                f"{name}: expected shape {want.shape} and dtype {want.dtype} of this model and number of chains for "
                f"{jax.tree_util.keystr(path)}, got {np.shape(leaf)} and {jnp.result_type(leaf)}"
            )


def _typed(state: PyTree) -> str:
    name = type(state).__name__
    return f"{name} of {len(jax.tree.leaves(state))} arrays" if isinstance(state, tuple) else f"a {name}"


@Wide
def _chunk(key: Array, sampler: Sampler, state: PyTree, observe, num_steps: Array):
    """As many steps as asked for, up to the capacity of its buffers: another number of them compiles nothing.

    Returns:
        The state, the status of all steps together, and the streams ``[capacity, num_chains, ...]``.
    """
    sampler, state = _guarded(sampler, state)
    _, shapes = jax.eval_shape(_one_step, key, sampler, state, observe)
    num_bytes = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    capacity = max(1, min(CHUNK_STEPS, CHUNK_BYTES // num_bytes))
    buffers = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), shapes)

    def one_step(index, carry):
        state, status, buffers = carry
        state, streams = _one_step(key, sampler, state, observe)
        buffers = jax.tree.map(
            lambda buffer, value: jax.lax.dynamic_update_index_in_dim(buffer, value, index, 0), buffers, streams
        )
        return state, status | jnp.bitwise_or.reduce(streams[1].status), buffers

    return jax.lax.fori_loop(0, jnp.minimum(num_steps, capacity), one_step, (state, jnp.uint32(0), buffers))


def _after(key: Array, sampler: Sampler, state: PyTree, num_steps: Array | int) -> tuple[PyTree, Array]:
    """State and status after so many steps, of which nothing is written."""
    sampler, state = _guarded(sampler, state)

    def one_step(_, carry):
        state, (_, info) = _one_step(key, sampler, carry[0], None)
        return state, carry[1] | jnp.bitwise_or.reduce(info.status)

    return jax.lax.fori_loop(0, num_steps, one_step, (state, jnp.uint32(0)))


_silently = Wide(_after)


@functools.partial(jax.jit, static_argnames="num_steps")
def _silent_scan(key: Array, sampler: Sampler, state: PyTree, *, num_steps: int) -> PyTree:
    """The state alone, of a number of steps that is known: sums of `accumulate` then have gradients."""
    after, status = _after(key, sampler, state, num_steps)
    return poisoned(status, after)


@functools.partial(jax.jit, static_argnames="num_steps")
def _scan(key: Array, sampler: Sampler, state: PyTree, observe, *, num_steps: int) -> Run:
    """The run under a transformation: no host is there to raise, so a failed step makes NaN of every float."""
    sampler, state = _guarded(sampler, state)

    def one_step(carry, _):
        state, status = carry
        state, streams = _one_step(key, sampler, state, observe)
        return (state, status | jnp.bitwise_or.reduce(streams[1].status)), streams

    (state, status), streams = jax.lax.scan(one_step, (state, jnp.uint32(0)), length=num_steps)
    # Once, after the scan: inside it, the chains of a packed sampler would be written with strides.
    trace, info = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), streams)
    return poisoned(status, Run(state, trace, info))


class _Streams:
    """The streams of all chunks, put together as ``[num_chains, num_steps, ...]``.

    On the host, since a program that cuts and joins them would be compiled for every number of steps; what is spread
    over several devices stays there.
    """

    def __init__(self, num_steps: int) -> None:
        self.num_steps, self.parts = num_steps, []

    def add(self, streams: PyTree, start: int, size: int) -> int:
        """Put up to ``size`` steps to their place from ``start`` on; the number that the streams hold."""
        size = min(size, jax.tree.leaves(streams)[0].shape[0])
        if any(len(leaf.sharding.device_set) > 1 for leaf in jax.tree.leaves(streams)):
            self.parts.append(jax.tree.map(lambda leaf: jnp.swapaxes(leaf[:size], 0, 1), streams))
            return size
        if not self.parts:
            self.parts = [jax.tree.map(self._room, streams)]
        jax.tree.map(
            lambda room, leaf: np.copyto(room[:, start : start + size], np.asarray(leaf)[:size].swapaxes(0, 1)),
            self.parts[0],
            streams,
        )
        return size

    def _room(self, leaf: Array) -> np.ndarray:
        return np.empty((leaf.shape[1], self.num_steps, *leaf.shape[2:]), leaf.dtype)

    def joined(self) -> PyTree:
        if self.parts[1:]:
            return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *self.parts)
        return jax.device_put(self.parts[0])


def _checked(key: Array, sampler: Sampler, num_steps: int, progress: Progress | bool | None) -> int:
    check_key("key", key)
    num_steps = as_count("num_steps", num_steps)
    check_sampler("sampler", sampler)
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise ValueError(f"progress: expected True or a function of (done, total, text), got {kind_of(progress)}")
    return num_steps


def _chunk_of(num_steps: int, progress: Progress | bool | None) -> int:
    """Steps of one program, after which a signal is heard and progress is told."""
    return min(CHUNK_STEPS, max(1, num_steps // NUM_CHUNKS) if progress else num_steps)


def _raise_for(name: str, status: Array, state: PyTree) -> None:
    if int(status):
        step = int(np.max(np.asarray(state.step)))
        raise FloatingPointError(f"{name}: {Status(int(status)).message} at or before step {step}")


def warm_up(
    key: Array, sampler: Sampler, state: PyTree, num_steps: int, *, progress: Progress | bool | None = None
) -> PyTree:
    """The state after steps of which nothing is kept: that of `run`, bit for bit, in the memory of one state.

    How many steps are enough is seen in a trace: `jaxrg.stats.summary` gives the autocorrelation time, of which a
    warm-up takes ten or more, and chains from order and from noise that agree.

    Args:
        key: as for `run`; a run with the same key goes on as one that was never interrupted.
        sampler: from a function such as `wolff` or `heat_bath`.
        state: from ``sampler.init`` or an earlier run.
        num_steps: steps to take.
        progress: as for `run`.

    Returns:
        The state after the last step.

    Raises:
        ValueError, FloatingPointError: as `run`. Under a transformation the floats of the state become NaN; spins have
            none, and what failed shows in the run that follows.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> ising = models.Ising(lattice.hypercubic((8, 8)), 0.3)
        >>> sampler = samplers.wolff(ising)
        >>> state = warm_up(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 100)
        >>> samplers.run(jax.random.key(1), sampler, state, 10, observe=ising.observables).trace.energy.shape
        (1, 10)
    """
    num_steps = _checked(key, sampler, num_steps, progress)
    if is_traced((key, sampler, state)):
        return _silent_scan(key, sampler, state, num_steps=num_steps)
    chunk, carry, done = _chunk_of(num_steps, progress), state, 0
    with reporting(progress, "warming up") as report:
        while done < num_steps:
            size = min(chunk, num_steps - done)
            carry, status = _silently(key, sampler, carry, np.int32(size))
            if is_traced(status):  # of what the sampler holds out of sight
                return _silent_scan(key, sampler, state, num_steps=num_steps)
            _raise_for("warm_up", status, carry)
            done += size
            report(done, num_steps, "")
    return carry


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
    temperatures do not compile anew, nor do other numbers of steps. ``run`` may itself be vmapped or jitted, which
    compiles it for its number of steps; a mapped axis comes before that of the chains, so map the estimator too, or
    merge the two axes for `jaxrg.stats`. To observe every k-th step only, run `thin`; to keep sums in place of a trace,
    run `accumulate`.

    **Chains of one key share their random numbers.** At other couplings or from other starts they are correlated, and
    can meet and stay together for ever. Independent points of a scan want keys of their own, as from
    ``jax.random.split(key, len(couplings))`` or ``jax.random.fold_in(key, index)``; many chains at one coupling are a
    sampler, `replicas`.

    **Going on tomorrow.** `save` writes a state, `load` reads it, and a run with the key of the first one goes on as if
    it had not stopped; `sample` keeps the samples too. ``sampler.init(key, spins)`` is another chain, of step 0: under
    the old run key it would draw its first random numbers once more.

    Spins are drawn, so nothing can be differentiated by the couplings of a sampler or by its state; that is an error,
    not a zero. Parameters that ``observe`` alone depends on have their derivative.

    Args:
        key: typed key of the whole run.
        sampler: from a function such as `wolff` or `heat_bath`.
        state: from ``sampler.init`` or an earlier run of the same model and number of chains.
        num_steps: steps to take.
        observe: function of one configuration, such as ``model.observables``; evaluated after every step.
        progress: called on the host as ``progress(steps done, num_steps, "")`` between chunks, or True for a bar; not
            under a transformation.

    Returns:
        `Run`: the last state, the trace ``[num_chains, num_steps, ...]`` of ``observe``, which is None without it, and
        the infos of all steps. A single chain has ``num_chains`` 1.

    Raises:
        ValueError: no typed key, no sampler, a state of another sampler, ``num_steps`` no positive integer, an
            ``observe`` or ``progress`` that is no function, or a derivative with respect to the sampler or the state.
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
    num_steps = _checked(key, sampler, num_steps, progress)
    if observe is not None:
        check_function("observe", observe, of="one configuration")
        if not takes(observe, 1):
            raise ValueError("observe: expected a function of one configuration, got one of other parameters")
        observe = as_partial(observe)
    if is_traced((key, sampler, state, observe)):
        return _scan(key, sampler, state, observe, num_steps=num_steps)

    chunk = _chunk_of(num_steps, progress)
    streams, carry, done = _Streams(num_steps), state, 0
    with reporting(progress, "sampling") as report:
        while done < num_steps:
            size = min(chunk, num_steps - done)
            carry, status, part = _chunk(key, sampler, carry, observe, np.int32(size))
            if is_traced((status, part)):  # of what ``observe`` holds out of sight
                return _scan(key, sampler, state, observe, num_steps=num_steps)
            _raise_for("run", status, carry)
            done += streams.add(part, done, size)
            report(done, num_steps, "")
    return Run(carry, *streams.joined())
