"""Gradients of the negative log-likelihood: exact, by contrastive divergence, and from persistent chains.

Each is a `jaxrg.training.GradientFn`, ``gradients, aux, metrics = gradient_fn(key, machine, aux, batch)``; subtract
gradients to learn. Those that take arguments come from factories that return the same object for the same arguments,
so a second call of `jaxrg.training.fit` does not recompile.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import check_count, check_spins
from jaxrg.rbm.energy import RBM, check_machine, hidden_field, visible_field
from jaxrg.rbm.exact import negative_log_likelihood
from jaxrg.rbm.gibbs import sample_spins
from jaxrg.training import GradientFn

_hidden_fields = jax.vmap(hidden_field, (None, 0))
_visible_fields = jax.vmap(visible_field, (None, 0))


def _check_batch(name: str, machine: RBM, batch: Array, *, num_units: int) -> Array:
    if batch.ndim != 2 or batch.shape[0] == 0:
        raise ValueError(f"{name}: expected shape (num_samples, {num_units}), got {tuple(batch.shape)}")
    check_spins(name, batch, (batch.shape[0], num_units))
    spins = batch.astype(machine.weights.dtype)
    # Inside a jit nobody can look at the values: NaN spins give NaN gradients, which the training loop reports.
    return jnp.where(jnp.abs(spins) == 1, spins, jnp.nan)


def _visible_from_hidden(key: Array, machine: RBM, hidden: Array) -> Array:
    return sample_spins(key, jnp.tanh(_visible_fields(machine, hidden)), hidden.dtype)


def _reconstruct(key: Array, machine: RBM, means: Array, num_steps: int) -> tuple[Array, Array]:
    """``num_steps`` steps of block Gibbs from hidden means: visible spins and the hidden means they lead to."""

    def step(key: Array, means: Array) -> tuple[Array, Array]:
        hidden_key, visible_key = jax.random.split(key)
        hidden = sample_spins(hidden_key, means, means.dtype)
        visible = _visible_from_hidden(visible_key, machine, hidden)
        return visible, jnp.tanh(_hidden_fields(machine, visible))

    keys = jax.random.split(key, num_steps)
    carry = step(keys[0], means)
    if num_steps > 1:
        carry, _ = jax.lax.scan(lambda carry, key: (step(key, carry[1]), None), carry, keys[1:])
    return carry


def _contrast(visible: Array, means: Array, model_visible: Array, model_means: Array) -> RBM:
    """Correlations of the model minus those of the data: a descent direction's gradient."""
    num_data, num_model = visible.shape[0], model_visible.shape[0]
    return RBM(
        model_visible.T @ (model_means / num_model) - visible.T @ (means / num_data),
        jnp.mean(model_visible, axis=0) - jnp.mean(visible, axis=0),
        jnp.mean(model_means, axis=0) - jnp.mean(means, axis=0),
    )


@functools.cache
def contrastive_divergence_gradient(*, num_steps: int = 1) -> GradientFn:
    r"""Contrastive divergence (CD-k): the gradient with the model replaced by k Gibbs steps from the data.

    .. math:: -\frac{\partial \ln P}{\partial W_{ia}} \approx \langle v_i m_a \rangle_k - \langle v_i m_a \rangle_0,
        \qquad m_a = \langle h_a \rangle_{p(h|v)}

    Hidden means stand for hidden spins in both terms, which has the same expectation and less noise. The bias falls as
    k grows, as the slowest mode of the Gibbs chain decays.

    Returns:
        A gradient without ``aux``, for batches ``[num_samples, num_visible]`` of spins ±1 of any dtype. It estimates
        the gradient per sample, shaped like the machine, and reports the fraction of spins changed. It refuses wrong
        shapes and units that are not ±1 with a ValueError; of a traced batch it makes NaN.

    Example:
        >>> machine = RBM(jnp.zeros((3, 2)), jnp.zeros(3), jnp.zeros(2))
        >>> gradient_fn = contrastive_divergence_gradient(num_steps=2)
        >>> gradients, _, metrics = gradient_fn(jax.random.key(0), machine, None, jnp.ones((5, 3), jnp.int8))
        >>> gradients.weights.shape, list(metrics)
        ((3, 2), ['reconstruction_error'])

    Reference:
        Hinton, Neural Computation 14, 1771 (2002).
    """
    check_count("num_steps", num_steps)

    def gradient_fn(key: Array, machine: RBM, aux: None, batch: Array):
        num_visible, _ = check_machine(machine)
        visible = _check_batch("batch", machine, batch, num_units=num_visible)
        means = jnp.tanh(_hidden_fields(machine, visible))
        model_visible, model_means = _reconstruct(key, machine, means, num_steps)
        error = jnp.mean(model_visible != visible, dtype=visible.dtype)
        return _contrast(visible, means, model_visible, model_means), aux, {"reconstruction_error": error}

    return gradient_fn


def persistent_chains(key: Array, machine: RBM, num_chains: int) -> Array:
    """Hidden layers ``[num_chains, num_hidden]`` int8 to start persistent chains: drawn from random visible layers."""
    num_visible, _ = check_machine(machine)
    check_count("num_chains", num_chains)
    start_key, hidden_key = jax.random.split(key)
    visible = sample_spins(start_key, jnp.zeros((num_chains, num_visible), machine.weights.dtype))
    return sample_spins(hidden_key, jnp.tanh(_hidden_fields(machine, visible)))


@functools.cache
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
    check_count("num_steps", num_steps)

    def gradient_fn(key: Array, machine: RBM, chains: Array, batch: Array):
        num_visible, num_hidden = check_machine(machine)
        visible = _check_batch("batch", machine, batch, num_units=num_visible)
        hidden = _check_batch("chains", machine, chains, num_units=num_hidden)
        visible_key, hidden_key, steps_key = jax.random.split(key, 3)

        means = jnp.tanh(_hidden_fields(machine, visible))
        model_visible = _visible_from_hidden(visible_key, machine, hidden)
        model_means = jnp.tanh(_hidden_fields(machine, model_visible))
        if num_steps > 1:
            model_visible, model_means = _reconstruct(steps_key, machine, model_means, num_steps - 1)
        chains = sample_spins(hidden_key, model_means, chains.dtype)
        gradients = _contrast(visible, means, model_visible, model_means)
        return gradients, chains, {"magnetization_gap": jnp.sqrt(jnp.mean(gradients.visible_bias**2))}

    return gradient_fn


def likelihood_gradient(key: Array, machine: RBM, aux: None, batch):
    """The exact gradient of `negative_log_likelihood`; a batch is its data, or ``(data, weights)``."""
    data, weights = batch if isinstance(batch, tuple) else (batch, None)
    loss, gradients = jax.value_and_grad(negative_log_likelihood)(machine, data, weights)
    return gradients, aux, {"negative_log_likelihood": loss}
