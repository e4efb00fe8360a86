"""The protocols every part of jaxrg speaks, and the checks of input they share."""

import enum
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

PyTree: TypeAlias = Any

Hamiltonian: TypeAlias = Callable[[Array], Array]
"""``energy = hamiltonian(spins)``: reduced H of one configuration ``[*shape]``, with P(s) = exp(-H(s))/Z."""

Observe: TypeAlias = Callable[[Array], PyTree]
"""``values = observe(spins)``: a pytree of arrays or numbers from one configuration ``[*shape]``."""

Kernel: TypeAlias = Callable[[Array, PyTree], tuple[PyTree, PyTree]]
"""``state, info = kernel(key, state)``: one step with a key of its own, for `jaxrg.samplers.from_kernel`."""

LogKernel: TypeAlias = Callable[[Array, Array], Array]
"""``log_weight = log_kernel(coarse, fine)``: scalar ln T(h|s) of one coarse and one fine configuration, -inf for 0."""

Progress: TypeAlias = Callable[[int, int, str], None]
"""``progress(done, total, text)``, called on the host between jitted chunks of `samplers.run` or `training.fit`."""


class SiteSpace(Protocol):
    r"""What the values at a site of a model are; static and hashable.

    Given everything else, a value s has a law proportional to :math:`\exp(f\cdot u(s))` with the local field f of its
    site. Functions act on all values of some sites at once, components of a value first: ``values`` are
    ``[*value_shape, *sites]``, local fields ``[*field_shape, *sites]``, and ``sites`` uint32 indices, the counters of
    the random bits of a ``key``. `jaxrg.models.sites` has signs, q states, angles and unit vectors.
    """

    @property
    def is_integer(self) -> bool:
        """Whether values are int8, of a `SpinState`, and not floats, of a `FieldState`."""
        ...

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of the value of one site, whose axes are the last ones of a configuration."""
        ...

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of the local field of one site, whose axes are the first ones of ``model.local_field``."""
        ...

    def checked(self, name: str, values: Any, shape: tuple[int, ...]) -> Array:
        """A configuration ``[*shape]`` as an array, or ValueError."""
        ...

    def draw(self, key: Array, sites: Array, field: Array) -> tuple[Array, Array]:
        """Values drawn from their law, and a uint32 `Status`."""
        ...

    def propose(self, key: Array, sites: Array, values: Array) -> Array:
        """Other values, each as likely from the first as the first from it, by the third and later words of a site."""
        ...

    def log_ratio(self, values: Array, proposed: Array, field: Array) -> Array:
        """``[*sites]`` log-weight of what is proposed less that of the values."""
        ...


class IntegerSites(SiteSpace, Protocol):
    """Sites whose values are int8, with what a `SpinState` starts from."""

    @property
    def ordered(self) -> int:
        """The value of all sites where cluster samplers start."""
        ...

    def random(self, key: Array, shape: tuple[int, ...]) -> Array:
        """``[*shape]`` independent values, each as likely as the others."""
        ...


class MirroredSites(SiteSpace, Protocol):
    """Sites whose values have a mirror image in the direction of their field, for over-relaxation."""

    def mirror(self, values: Array, field: Array) -> Array:
        """Values of the same weight, of which the values are the image."""
        ...


class Model(Protocol):
    """Spins with a reduced Hamiltonian: what every sampler asks for. A pytree whose leaves are the couplings.

    Spins are ±1 unless the model has ``sites``, a `SiteSpace`, which then says what they are.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a configuration."""
        ...

    @property
    def colours(self) -> Any:
        """``[*shape]`` integers: the sublattice of each site; sites of one sublattice do not interact."""
        ...

    @property
    def num_colours(self) -> int:
        """Number of sublattices, static."""
        ...

    def hamiltonian(self, spins: Array, /) -> Array:
        """Scalar H(s) of one configuration ``[*shape]``."""
        ...

    def local_field(self, spins: Array, /) -> Array:
        """``[*shape]`` -dH/ds_x, so that P(s_x = +1 | rest) = 1 / (1 + exp(-2 f_x)); of other sites what they say."""
        ...

    def observables(self, spins: Array, /) -> PyTree:
        """What the model reports of one configuration, per site."""
        ...


class PairModel(Model, Protocol):
    """A model H(s) = -sum_e J_e s_i s_j - sum_i h_i s_i: what cluster samplers ask for."""

    def bond_couplings(self) -> Array:
        """``[*bonds]`` J of every bond, zero where there is none."""
        ...

    def bond_ends(self, values: Array) -> tuple[Array, Array]:
        """``[*bonds]`` values ``[*shape]`` of the sites at the first and at the second end of every bond."""
        ...

    def cluster_labels(self, active: Array) -> Array:
        """``[*shape]`` int32: the smallest site of each cluster that the active bonds ``[*bonds]``, bool, join."""
        ...

    def field_array(self) -> Array:
        """``[*shape]`` h on every site."""
        ...


class Sampler(NamedTuple):
    """A Markov chain, or many side by side, as pure functions, each a `Partial`: a pytree whose leaves are couplings.

    Step ``t`` of a run draws its random numbers from ``fold_in(key, t)``: the key is that of the whole run, and a
    trajectory is a function of (key, start). `jaxrg.samplers.from_kernel` makes a sampler of a kernel that takes a
    fresh key.

    Attributes:
        init: ``state = init(key, spins=None)``; every state is a NamedTuple that knows its ``step``, the uint32 number
            of steps taken so far. ``spins`` starts the chain from a given configuration.
        step: ``state, info = step(key, state)`` with the key of the run. ``info`` never feeds back into the state; its
            fields have a leading axis of chains, of length one where the sampler reports on all its chains together,
            and among them is ``status``, a uint32 `Status`.
        measure: ``values = measure(fn, state)`` applies ``fn`` to every configuration of the state; leaves
            ``[num_chains, ...]``, also for a single chain.
    """

    init: Callable[..., PyTree]
    step: Callable[[Array, PyTree], tuple[PyTree, PyTree]]
    measure: Callable[[Callable, PyTree], PyTree]


class FieldModel(Protocol):
    """A field of real numbers with an action, P(x) = exp(-S(x))/Z. A pytree whose leaves are the couplings."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a configuration, components of a site last."""
        ...

    def action(self, field: Array, /) -> Array:
        """Scalar S(x) of one configuration ``[*shape]``, differentiable."""
        ...

    def observables(self, field: Array, /) -> PyTree:
        """What the model reports of one configuration, per site."""
        ...


class Accumulator(NamedTuple):
    """A statistic of a stream as four pure functions over a pytree of observables, each a `Partial` without leaves.

    Attributes:
        init: ``state = init(example)``; only shapes and dtypes of the example are looked at.
        update: ``state = update(state, value)`` takes in one value with the structure of the example.
        merge: ``state = merge(left, right)`` of two streams.
        summary: ``result = summary(state)``, one NamedTuple in place of every leaf of the example.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree], PyTree]
    merge: Callable[[PyTree, PyTree], PyTree]
    summary: Callable[[PyTree], PyTree]


class Bijector(NamedTuple):
    """An invertible map of one event as pure functions.

    Axes that follow those of the event are lanes: ``[*event, *lanes]`` are as many events side by side, each with a
    log-determinant of its own, ``[*lanes]``. With features leading, the lanes are what a processor works on at once.
    One event alone has no lanes and a scalar log_det; ``vmap`` works as everywhere.

    Attributes:
        init: ``params = init(key)``.
        forward: ``y, log_det = forward(params, x)``, with log_det = ln abs(det dy/dx).
        inverse: ``x, log_det = inverse(params, y)``, with log_det = ln abs(det dx/dy).
    """

    init: Callable[[Array], PyTree]
    forward: Callable[[PyTree, PyTree], tuple[PyTree, Array]]
    inverse: Callable[[PyTree, PyTree], tuple[PyTree, Array]]


class Density(NamedTuple):
    """A normalised distribution with parameters that can be drawn from and evaluated, many configurations at once.

    Attributes:
        init: ``params = init(key)``.
        sample: ``configurations, log_prob = sample(key, params, num_samples)``, ``[num_samples, *shape]`` and
            ``[num_samples]``: draws and the ln q of each.
        log_prob: ``log_prob = log_prob(params, configurations)``, ``[num_samples]`` ln q.
    """

    init: Callable[[Array], PyTree]
    sample: Callable[[Array, PyTree, int], tuple[Array, Array]]
    log_prob: Callable[[PyTree, Array], Array]


class DensityLike(Protocol):
    """What has the three functions of a `Density`, as one itself or an object with methods."""

    @property
    def init(self) -> Callable[[Array], PyTree]:
        """``params = init(key)``."""
        ...

    @property
    def sample(self) -> Callable[[Array, PyTree, int], tuple[Array, Array]]:
        """``configurations, log_prob = sample(key, params, num_samples)``."""
        ...

    @property
    def log_prob(self) -> Callable[[PyTree, Array], Array]:
        """``log_prob = log_prob(params, configurations)``."""
        ...


class Status(enum.IntFlag):
    """What can go wrong inside a compiled step, as bits of a uint32; the drivers turn them into errors."""

    OK = 0
    NOT_FINITE = 1
    NOT_CONVERGED = 2
    OVERFLOW = 4

    def when(self, condition: Array) -> Array:
        """``[...]`` uint32: this status where the condition holds, else OK."""
        return jnp.where(condition, jnp.uint32(self), jnp.uint32(0))

    @property
    def message(self) -> str:
        """What happened, in words."""
        return ", ".join(_STATUS_MESSAGES[status] for status in Status if status & self)


_STATUS_MESSAGES = {
    Status.NOT_FINITE: "a NaN or infinite number",
    Status.NOT_CONVERGED: "an iteration that did not converge",
    Status.OVERFLOW: "a buffer that was too small",
}


def safe_divide(numerator: Array, denominator: Array) -> Array:
    """The ratio, and 0 (with derivative 0) where the denominator is 0."""
    is_zero = denominator == 0
    return jnp.where(is_zero, 0, numerator / jnp.where(is_zero, 1, denominator))


def computed_once(count: Array, fn: Callable[..., PyTree], *operands: PyTree) -> PyTree:
    """``fn(*operands)``, computed before what uses it, inside a loop whose counter, from 0 up, is ``count``.

    XLA fuses a computation into what spreads its result over a larger array, and on a CPU then repeats it for every
    element there. The branch of a condition that it cannot see through is kept apart.
    """
    shapes = jax.eval_shape(fn, *operands)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.cond(count >= 0, fn, lambda *_: nothing, *operands)
