"""Ladders: machines of one shape from one that is known to one that is wanted, and how far two of them are apart."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import (
    as_count,
    as_floating,
    as_floating_alike,
    as_parameter,
    check_key,
    check_number,
    is_traced,
    kind_of,
)
from jaxrg.rbm.energy import (
    RBM,
    are_alike,
    as_machine,
    as_visible,
    hidden_field,
    visible_features,
)
from jaxrg.rbm.gibbs import gibbs_step
from jaxrg.rbm.units import Gaussian, Potts, Units

BISECTIONS = 50  # of a bias between its largest values, below a float32's step
LARGEST_BIAS = 20.0  # of two states; the means of more lie closer to one


class Ladder(NamedTuple):
    """Machines chosen so that neighbours exchange configurations."""

    machines: RBM  # leaves [num_machines, ...]
    indices: Array  # [num_machines] int32: which of the given ones
    acceptance: Array  # [num_machines - 1] mean probability of a swap of neighbours, as the pilot saw it


def as_ladder(name: str, machines: Any) -> RBM:
    """Machines of one shape as one `RBM` whose leaves have a leading axis; a list of machines is stacked.

    Raises:
        ValueError: no machines, fewer than two, or some of other shapes or units or of NaN or infinite parameters.
    """
    if isinstance(machines, RBM):
        # The leading axes are compared before `as_machine` sees one machine.
        given = {field: as_parameter(field, getattr(machines, field)) for field in _ARRAYS}
        stacked = machines._replace(**dict(zip(_ARRAYS, as_floating_alike(**given), strict=True)))
        if stacked.weights.ndim < 3 or stacked.weights.shape[0] < 2:
            raise ValueError(
                f"{name}: expected at least two machines, weights of shape (num_machines, num_visible, num_hidden), "
                f"got {tuple(stacked.weights.shape)}; rbm.tempering.tempered makes them of one"
            )
        lengths = {field: getattr(stacked, field).shape[:1] for field in _ARRAYS}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{name}: expected one number of machines in all parameters, got {lengths}")
        jax.eval_shape(jax.vmap(as_machine), stacked)
        return _of_one_precision(name, stacked)
    if not isinstance(machines, Sequence) or isinstance(machines, str) or len(machines) < 2:
        raise ValueError(
            f"{name}: expected a list of at least two machines or a stack of them, got {kind_of(machines)}"
        )
    checked = [as_machine(machine, name=name) for machine in machines]
    for machine in checked[1:]:
        shapes = shapes_of(machine), shapes_of(checked[0])
        if shapes[0] != shapes[1] or not have_same_units(machine, checked[0]):
            raise ValueError(f"{name}: expected machines of one shape and units, got {shapes[1]} and {shapes[0]}")
    return as_ladder(name, _stack(checked))


_ARRAYS = "weights", "visible_bias", "hidden_bias"


def shapes_of(machine: RBM) -> list[tuple[int, ...]]:
    """Of all its arrays."""
    return [leaf.shape for leaf in jax.tree.leaves(machine)]


def have_same_units(machine: RBM, other: RBM) -> bool:
    """Whether the layers of two machines are of one kind each."""
    return are_alike(machine.visible_units, other.visible_units) and are_alike(machine.hidden_units, other.hidden_units)


def _of_one_precision(name: str, machines: RBM) -> RBM:
    """Machines in a row, if real units have one precision in all of them; with NaN weights where it does not show."""
    for leaf in jax.tree.leaves((machines.visible_units, machines.hidden_units)):
        if is_traced(leaf):
            is_one = jnp.all(leaf == leaf[:1])
            machines = machines._replace(weights=jnp.where(is_one, machines.weights, jnp.nan))
        elif np.any(np.asarray(as_parameter("log_precision", leaf)) != np.asarray(leaf)[:1]):
            raise ValueError(f"{name}: expected real units of one log_precision in all machines, got several")
    return machines


@jax.jit
def _stack(machines: list[RBM]) -> RBM:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *machines)


def change_of(other: RBM, machine: RBM) -> RBM:
    """What another machine's parameters have more, as a machine."""
    return jax.tree.map(jnp.subtract, other, machine)


def hamiltonian_change(machine: RBM, change: RBM, visible: Array, field: Array, field_change: Array) -> Array:
    """What H(v) gains where parameters change by these, unit by unit: no digits are lost in large sums.

    Args:
        field: ``[num_hidden]`` on the hidden units of the machine.
        field_change: ``[num_hidden]`` what the change adds to it.
    """
    log_partition = machine.hidden_units.log_partition
    of_hidden = log_partition(field + field_change) - log_partition(field)
    return -visible_features(machine, visible) @ change.visible_bias - jnp.sum(of_hidden)


def difference(other: RBM, machine: RBM, visible: Array) -> Array:
    """H of another machine minus H of this one for a visible layer, good to the digits of the difference."""
    change = change_of(other, machine)
    return hamiltonian_change(machine, change, visible, hidden_field(machine, visible), hidden_field(change, visible))


def neighbour_differences(machines: RBM, visible: Array) -> tuple[Array, Array]:
    """H of the next machine minus H of this one, for every pair of neighbours.

    Returns:
        Two ``[num_machines - 1]``: of the layers ``[num_machines, num_visible]`` at this machine, and at the next one.
    """
    lower, upper = (jax.tree.map(lambda leaf, part=part: leaf[part], machines) for part in (slice(-1), slice(1, None)))
    up, down = change_of(upper, lower), change_of(lower, upper)
    fields = jax.vmap(hidden_field)
    field, raised, lowered = fields(machines, visible), fields(up, visible[:-1]), fields(down, visible[1:])
    changes = jax.vmap(hamiltonian_change)
    below = changes(lower, up, visible[:-1], field[:-1], raised)
    above = changes(upper, down, visible[1:], field[1:], lowered)
    return below, -above


def independent_units(machine: RBM, data: Array | None = None) -> RBM:
    r"""A machine of this shape without weights, where a ladder can start: its partition function is known.

    Args:
        data: ``[num_samples, num_visible]``; visible biases then give the means of the data, with one more sample of
            each sign at every site. By default all biases are those of the machine.

    Returns:
        A machine of the same biases and no weights, or with visible biases that give the means of the data.

    Raises:
        ValueError: no machine, or data that do not fit.

    Example:
        >>> machine = RBM(jnp.ones((2, 1)), jnp.zeros(2), jnp.zeros(1))
        >>> found = independent_units(machine, jnp.array([[1, 1], [1, -1]]))
        >>> found.weights.tolist(), abs(jnp.tanh(found.visible_bias)).round(4).tolist()
        ([[0.0], [0.0]], [0.5, 0.0])

    Reference:
        Salakhutdinov & Murray, ICML (2008), for biases from the data.
    """
    machine = as_machine(machine)
    if data is not None:
        data = as_visible("data", data, machine, is_batch=True)
    return _independent_units(machine, data)


@jax.jit
def _independent_units(machine: RBM, data: Array | None) -> RBM:
    reference = machine._replace(weights=jnp.zeros_like(machine.weights))
    if data is None:
        return reference
    units, features = machine.visible_units, visible_features(machine, data)
    without_field = units.mean(jnp.zeros_like(machine.visible_bias))
    means = (jnp.sum(features, axis=0) + 2 * without_field) / (features.shape[0] + 2)
    return reference._replace(visible_bias=_field_of(units, means))


def _field_of(units: Units, means: Array) -> Array:
    """The field in which units have these means."""
    if isinstance(units, Potts):
        return jnp.log(means)
    if isinstance(units, Gaussian):
        return means * units.precision(means.shape[-1], means.dtype)

    def halve(_, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        is_low = units.mean(middle) < means
        return jnp.where(is_low, middle, low), jnp.where(is_low, high, middle)

    largest = LARGEST_BIAS * ((units.num_states or 2) - 1)
    ends = jnp.full_like(means, -largest), jnp.full_like(means, largest)
    low, high = jax.lax.fori_loop(0, BISECTIONS, halve, ends)
    return (low + high) / 2


def independent_log_partition(machine: RBM) -> Array:
    """ln Z of a machine without weights."""
    of_hidden = machine.hidden_units.log_partition(machine.hidden_bias)
    return jnp.sum(of_hidden) + jnp.sum(machine.visible_units.log_partition(machine.visible_bias))


def tempered(machine: RBM, reference: RBM, inverse_temperatures: Array | Sequence[float]) -> RBM:
    r"""Machines on the way from a reference to a machine: all parameters are interpolated.

    .. math:: \theta_k = (1 - \beta_k)\, \theta_\mathrm{reference} + \beta_k\, \theta

    Args:
        machine: the last one.
        reference: the first one, such as `independent_units`.
        inverse_temperatures: ``[num_machines]`` rising from 0 to 1.

    Returns:
        An `RBM` whose leaves have a leading axis ``num_machines``, for `tempered_gibbs_sampler`.

    Raises:
        ValueError: machines of different shapes, or numbers that do not rise from 0 to 1.

    Example:
        >>> machine = RBM(jnp.ones((2, 1)), jnp.zeros(2), jnp.zeros(1))
        >>> tempered(machine, independent_units(machine), [0.0, 0.5, 1.0]).weights[:, 0, 0].tolist()
        [0.0, 0.5, 1.0]
    """
    machine, reference = as_machine(machine), as_machine(reference, name="reference")
    betas = as_floating("inverse_temperatures", inverse_temperatures)
    check_same_shape(machine, reference)
    if betas.ndim != 1 or betas.size < 2:
        raise ValueError(f"inverse_temperatures: expected a list of at least two numbers, got shape {betas.shape}")
    if not is_traced(betas):
        host = np.asarray(betas)
        if not (host[0] == 0 and host[-1] == 1 and np.all(np.diff(host) > 0)):
            raise ValueError(f"inverse_temperatures: expected numbers that rise from 0 to 1, got {host.tolist()}")
    return _tempered(machine, reference, betas)


def check_same_shape(machine: RBM, reference: RBM) -> None:
    """Raise ValueError unless all parameters have the same shapes."""
    shapes = shapes_of(reference), shapes_of(machine)
    if shapes[0] != shapes[1] or not have_same_units(machine, reference):
        raise ValueError(f"reference: expected a machine of {shapes[1]}, got {shapes[0]}")
    if is_traced((machine, reference)):
        return
    own, others = (jax.tree.leaves((part.visible_units, part.hidden_units)) for part in (machine, reference))
    if any(np.any(np.asarray(leaf) != np.asarray(other)) for leaf, other in zip(own, others, strict=True)):
        raise ValueError("reference: expected real units of the log_precision of the machine, got another")


@jax.jit
def _tempered(machine: RBM, reference: RBM, betas: Array) -> RBM:
    return jax.vmap(between, (None, None, 0))(reference, machine, betas)


def between(reference: RBM, machine: RBM, beta: Array) -> RBM:
    """The machine at one inverse temperature on the way, its units those of both ends."""

    def one(first: Array, last: Array) -> Array:
        share = beta.astype(last.dtype)
        return (1 - share) * first.astype(last.dtype) + share * last

    return machine._replace(**{name: one(getattr(reference, name), getattr(machine, name)) for name in _ARRAYS})


@functools.partial(jax.jit, static_argnames=("num_chains", "num_steps"))
def along(key: Array, machines: RBM, *, num_chains: int, num_steps: int) -> Array:
    """``[num_machines, num_chains, num_visible]`` layers of chains that are led from the first machine to the last."""
    start_key, key = jax.random.split(key)
    first = jax.tree.map(lambda leaf: leaf[0], machines)
    start = first.visible_units.sample(
        start_key, jnp.broadcast_to(first.visible_bias, (num_chains, *first.visible_bias.shape))
    )
    step = jax.vmap(gibbs_step, (0, None, 0))

    def one_machine(visible: Array, numbered: tuple[Array, RBM]) -> tuple[Array, Array]:
        key, machine = numbered
        keys = jax.random.split(key, (num_steps, num_chains))
        visible, _ = jax.lax.scan(lambda visible, keys: (step(keys, machine, visible)[0], None), visible, keys)
        return visible, visible

    keys = jax.random.split(key, machines.weights.shape[0])
    _, layers = jax.lax.scan(one_machine, start, (keys, machines))
    return layers


@jax.jit
def _acceptances(machines: RBM, layers: Array, index: Array) -> Array:
    """``[num_machines]`` mean probability of a swap between one machine and each, from layers of both."""

    def pick(tree: Any, index: Array) -> Any:
        return jax.tree.map(lambda leaf: leaf[index], tree)

    machine, own = pick(machines, index), layers[index]
    differences = jax.vmap(difference, (None, None, 0))

    def with_other(number: Array) -> Array:
        other = pick(machines, number)
        # A chain's own layers at both machines are alike; those of different chains are not.
        ratio = differences(other, machine, jnp.roll(layers[number], 1, axis=0)) - differences(other, machine, own)
        return jnp.mean(jnp.exp(jnp.minimum(ratio, 0)))

    return jax.lax.map(with_other, jnp.arange(layers.shape[0]))


def choose_machines(
    key: Array,
    machines: RBM | Sequence[RBM],
    *,
    target_acceptance: float = 0.3,
    num_chains: int = 200,
    num_steps: int = 10,
) -> Ladder:
    """The fewest of many machines in a row between which configurations are exchanged at least so often.

    Checkpoints of a training make a ladder along its trajectory; `tempered` at many temperatures makes one from a
    reference. Chains are led through all machines, and from each chosen one the farthest is chosen next up to which
    the mean probability of a swap stays above the target. Runs on the host.

    Args:
        key: typed key.
        machines: ``[num_machines, ...]`` or a list; the first and the last are always chosen.
        target_acceptance: of swaps; where two neighbours have less, both are taken.
        num_chains: of the pilot.
        num_steps: Gibbs steps of these at every machine.

    Returns:
        `Ladder`.

    Raises:
        ValueError: no typed key, no machines of one shape, or numbers out of range.

    Example:
        >>> from jaxrg import rbm
        >>> machine = rbm.init(jax.random.key(0), 16, 8, scale=0.5)
        >>> many = tempered(machine, independent_units(machine), jnp.linspace(0, 1, 50))
        >>> ladder = choose_machines(jax.random.key(1), many)
        >>> int(ladder.indices[0]), int(ladder.indices[-1]), ladder.indices.size < 20
        (0, 49, True)

    Reference:
        Béreux, Decelle, Furtlehner & Seoane, arXiv:2405.15376, for the trajectory.
    """
    check_key("key", key)
    stacked = as_ladder("machines", machines)
    check_number("target_acceptance", target_acceptance, above=0, below=1)
    target = float(target_acceptance)
    counts = {
        "num_chains": as_count("num_chains", num_chains, minimum=2),
        "num_steps": as_count("num_steps", num_steps),
    }
    layers = along(key, stacked, **counts)
    num_machines = stacked.weights.shape[0]
    chosen, acceptance = [0], []
    while chosen[-1] < num_machines - 1:
        here = chosen[-1]
        found = np.asarray(_acceptances(stacked, layers, np.int32(here)))[here + 1 :]
        is_near = found >= target
        reach = len(found) if is_near.all() else max(1, int(np.argmin(is_near)))
        chosen.append(here + reach)
        acceptance.append(found[reach - 1])
    indices = np.asarray(chosen, np.int32)
    # On the host, since a program that cuts would be compiled for every number of machines.
    kept = jax.tree.map(lambda leaf: np.asarray(leaf)[indices], stacked)
    return Ladder(*jax.device_put((kept, indices, np.asarray(acceptance))))
