"""Gradients of the negative log-likelihood: exact, by contrastive divergence, and from persistent chains.

Each is a `jaxrg.training.GradientFn`, ``gradients, aux, metrics = gradient_fn(key, machine, aux, batch)``; subtract
gradients to learn. Those that take arguments come from factories that return the same object for the same arguments,
so a second call of `jaxrg.training.fit` does not recompile.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_count, as_floating, check_key, check_shape
from jaxrg.rbm.energy import (
    RBM,
    as_hidden,
    as_machine,
    as_visible,
    field_on_hidden,
    field_on_visible,
    hidden_features,
    visible_features,
)
from jaxrg.rbm.exact import as_weighted_data, log_partition, weighted_energies
from jaxrg.rbm.units.spins import Units
from jaxrg.training import GradientFn

_hidden_fields = jax.vmap(field_on_hidden, (None, 0))
_visible_fields = jax.vmap(field_on_visible, (None, 0))


def _visible_from_hidden(key: Array, machine: RBM, hidden: Array, draw: Array | int) -> Array:
    """Visible units drawn from hidden features."""
    return machine.visible_units.sample(key, _visible_fields(machine, hidden), draw)


def _visible_features(machine: RBM, visible: Array) -> Array:
    return machine.visible_units.features(visible, machine.weights.dtype)


def _hidden_from_field(key: Array, machine: RBM, field: Array, draw: Array | int) -> tuple[Array, Array]:
    """Hidden units drawn in a field, and their features."""
    hidden = machine.hidden_units.sample(key, field, draw)
    return hidden, machine.hidden_units.features(hidden, machine.weights.dtype)


def _reconstruct(key: Array, machine: RBM, field: Array, num_steps: int) -> tuple[Array, Array]:
    """``num_steps`` steps of block Gibbs from hidden fields: visible units and the hidden fields they lead to."""

    def step(number: Array | int, field: Array) -> tuple[Array, Array]:
        _, hidden = _hidden_from_field(key, machine, field, 2 * number)
        visible = _visible_from_hidden(key, machine, hidden, 2 * number + 1)
        return visible, _hidden_fields(machine, _visible_features(machine, visible))

    carry = step(0, field)
    if num_steps > 1:
        numbers = jnp.arange(1, num_steps, dtype=jnp.uint32)
        carry, _ = jax.lax.scan(lambda carry, number: (step(number, carry[1]), None), carry, numbers)
    return carry


def _difference_of_means(left: Array, right: Array) -> Array:
    if left.shape == right.shape:
        return jnp.mean(left - right, axis=0)  # one pass
    return jnp.mean(left, axis=0) - jnp.mean(right, axis=0)


class _Sample(NamedTuple):
    """Samples of the data or of the model, and what they do to the hidden layer."""

    visible: Array  # [num_samples, num_visible]
    features: Array  # [num_samples, num_visible]
    field: Array  # [num_samples, num_hidden]


def _contrast(machine: RBM, data: _Sample, model: _Sample) -> RBM:
    """Mean H(v) of the data minus that of the model, as a derivative in the machine."""
    data_means, model_means = machine.hidden_units.mean(data.field), machine.hidden_units.mean(model.field)
    num_data, num_model = data.visible.shape[0], model.visible.shape[0]

    # What kinds of units have as parameters of their own: nothing of discrete ones.
    def mean_energy(units: tuple[Units, Units], sample: _Sample) -> Array:
        base = units[0].base_energy(sample.visible, sample.features.dtype)
        return jnp.mean(base - jnp.sum(units[1].log_partition(sample.field), axis=-1))

    units = machine.visible_units, machine.hidden_units
    if jax.tree.leaves(units):
        units = jax.grad(lambda units: mean_energy(units, data) - mean_energy(units, model))(units)
    # Divided behind the products, where it costs no pass of its own.
    of_model, of_data = model.features.T @ model_means, data.features.T @ data_means
    return RBM(
        of_model / num_model - of_data / num_data,
        _difference_of_means(model.features, data.features),
        _difference_of_means(model_means, data_means),
        *units,
    )


def contrastive_divergence_gradient(*, num_steps: int = 1) -> GradientFn:
    r"""Contrastive divergence (CD-k): the gradient with the model replaced by k Gibbs steps from the data.

    .. math:: -\frac{\partial \ln P}{\partial W_{ia}} \approx \langle v_i m_a \rangle_k - \langle v_i m_a \rangle_0,
        \qquad m_a = \langle h_a \rangle_{p(h|v)}

    Hidden means stand for hidden spins in both terms, which has the same expectation and less noise. The bias falls as
    k grows, as the slowest mode of the Gibbs chain decays.

    Returns:
        A gradient without ``aux``, for batches ``[num_samples, num_visible]`` of the machine's units. It estimates
        the gradient per sample, shaped like the machine, and reports the mean squared change of a feature, four times
        the fraction of spins that flipped. It refuses wrong shapes and units that are none, as 0 of spins, with a
        ValueError; of a traced batch it makes NaN.

    Example:
        >>> machine = RBM(jnp.zeros((3, 2)), jnp.zeros(3), jnp.zeros(2))
        >>> gradient_fn = contrastive_divergence_gradient(num_steps=2)
        >>> gradients, _, metrics = gradient_fn(jax.random.key(0), machine, None, jnp.ones((5, 3), jnp.int8))
        >>> gradients.weights.shape, list(metrics)
        ((3, 2), ['reconstruction_error'])

    Reference:
        Hinton, Neural Computation 14, 1771 (2002).
    """
    return _cd_gradient(as_count("num_steps", num_steps))


@functools.cache
def _cd_gradient(num_steps: int) -> GradientFn:
    def gradient_fn(key: Array, machine: RBM, aux: None, batch: Array):
        check_key("key", key)
        machine = as_machine(machine)
        batch = as_visible("batch", batch, machine, is_batch=True)
        gradients, metrics = _contrastive_divergence(key, machine, batch, num_steps)
        return gradients, aux, metrics

    return gradient_fn


@functools.partial(jax.jit, static_argnums=3, inline=True)
def _contrastive_divergence(key: Array, machine: RBM, batch: Array, num_steps: int) -> tuple[RBM, dict[str, Array]]:
    features = visible_features(machine, batch)
    data = _Sample(batch, features, _hidden_fields(machine, features))
    visible, field = _reconstruct(key, machine, data.field, num_steps)
    model = _Sample(visible, _visible_features(machine, visible), field)
    error = jnp.mean((model.features - features) ** 2)
    return _contrast(machine, data, model), {"reconstruction_error": error}


def persistent_chains(key: Array, machine: RBM, num_chains: int) -> Array:
    """Hidden layers ``[num_chains, num_hidden]`` to start persistent chains, drawn from visible ones without field."""
    check_key("key", key)
    return _persistent_chains(key, as_machine(machine), as_count("num_chains", num_chains))


@functools.partial(jax.jit, static_argnums=2)
def _persistent_chains(key: Array, machine: RBM, num_chains: int) -> Array:
    start_key, hidden_key = jax.random.split(key)
    no_field = jnp.zeros((num_chains, *machine.visible_bias.shape), machine.weights.dtype)
    visible = machine.visible_units.sample(start_key, no_field)
    return machine.hidden_units.sample(hidden_key, _hidden_fields(machine, _visible_features(machine, visible)))


def persistent_contrastive_divergence_gradient(*, num_steps: int = 1) -> GradientFn:
    r"""Persistent contrastive divergence (PCD): the model's term comes from chains that never restart.

    A chain is kept as its hidden layer: a step draws v from p(v | h), then h from p(h | v), which leaves the P(h) of
    the machine invariant and needs no product more than CD.

    Args:
        num_steps: Gibbs steps of each chain.

    Returns:
        A gradient like that of `contrastive_divergence_gradient` whose ``aux`` are the chains, ``[num_chains,
        num_hidden]`` spins ±1, at first from `persistent_chains`. It reports the root mean square difference between
        the visible means of data and chains.

    Reference:
        Tieleman, ICML (2008).
    """
    return _pcd_gradient(as_count("num_steps", num_steps))


@functools.cache
def _pcd_gradient(num_steps: int) -> GradientFn:
    def gradient_fn(key: Array, machine: RBM, chains: Array, batch: Array):
        check_key("key", key)
        machine = as_machine(machine)
        batch = as_visible("batch", batch, machine, is_batch=True)
        if chains is None:
            raise ValueError(
                "chains: expected (num_chains, num_hidden) spins as aux, such as rbm.persistent_chains(key, machine, "
                "num_chains), got None"
            )
        chains = as_hidden("chains", chains, machine, is_batch=True)
        return _persistent_contrastive_divergence(key, machine, chains, batch, num_steps)

    return gradient_fn


@functools.partial(jax.jit, static_argnums=4, inline=True)
def _persistent_contrastive_divergence(
    key: Array, machine: RBM, chains: Array, batch: Array, num_steps: int
) -> tuple[RBM, Array, dict[str, Array]]:
    features, hidden = visible_features(machine, batch), hidden_features(machine, chains)
    data = _Sample(batch, features, _hidden_fields(machine, features))
    visible = _visible_from_hidden(key, machine, hidden, 2 * num_steps)
    field = _hidden_fields(machine, _visible_features(machine, visible))
    if num_steps > 1:
        visible, field = _reconstruct(key, machine, field, num_steps - 1)
    drawn, _ = _hidden_from_field(key, machine, field, 2 * num_steps + 1)
    gradients = _contrast(machine, data, _Sample(visible, _visible_features(machine, visible), field))
    gap = jnp.sqrt(jnp.mean(gradients.visible_bias**2))
    return gradients, drawn.astype(chains.dtype), {"magnetization_gap": gap}


def likelihood_gradient(key: Array, machine: RBM, aux: Array | None, batch: Array | tuple[Array, Array]):
    r"""The exact gradient of the negative log-likelihood, also of weighted data, in batches of any size.

    .. math:: g = \frac{1}{B} \sum_{n \in batch} \frac{w_n}{\bar w}\, \partial\,(-\ln P(v_n))

    The mean weight :math:`\bar w` is that of the whole data set, not of the batch: then the batches of an epoch
    average to the gradient of `negative_log_likelihood` of all data, whatever their size. A gradient that divided by
    the weights of its own batch would learn another distribution.

    Args:
        key: not used; the gradient is exact.
        machine: one of whose layers has at most 30 units.
        aux: the mean weight of the data set, returned as it came; None if it is 1, as ``weights / weights.mean()``
            makes it. Another scale of the weights scales the gradient.
        batch: samples ``[num_samples, num_visible]`` of spins ±1, or ``(samples, weights)``.

    Returns:
        Gradients shaped like the machine; ``aux``; the negative log-likelihood of this batch, a weighted mean.

    Raises:
        ValueError: data that are not ±1, as 0/1 data are not, or weights that are negative or all zero. Of traced ones
            it makes NaN.

    Example:
        >>> machine, states = RBM(jnp.zeros((1, 1)), jnp.zeros(1), jnp.zeros(1)), jnp.array([[1], [-1]])
        >>> weights = jnp.array([0.75, 0.25])
        >>> gradients, *_ = likelihood_gradient(jax.random.key(0), machine, weights.mean(), (states, weights))
        >>> gradients.visible_bias.tolist()  # the machine's magnetization minus that of the data
        [-0.5]
    """
    data, weights = batch if isinstance(batch, tuple) and len(batch) == 2 else (batch, None)
    machine, data, weights = as_weighted_data(machine, data, weights)
    if aux is not None:
        check_shape("aux", as_floating("aux", aux), ())
    gradients, metrics = _likelihood_gradient(machine, data, weights, None if aux is None else as_floating("aux", aux))
    return gradients, aux, metrics


@jax.jit
def _likelihood_gradient(machine: RBM, data: Array, weights: Array | None, mean_weight: Array | None):
    def loss(machine: RBM) -> tuple[Array, Array]:
        energies, shares = weighted_energies(machine, data, weights)
        scale = 1 if mean_weight is None else mean_weight.astype(shares.dtype)
        losses = energies + log_partition(machine)
        return jnp.mean(shares * losses) / scale, jnp.sum(shares * losses) / jnp.sum(shares)

    gradients, of_batch = jax.grad(loss, has_aux=True)(machine)
    return gradients, {"negative_log_likelihood": of_batch}
