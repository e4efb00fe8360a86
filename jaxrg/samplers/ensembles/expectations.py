"""Means over a chain as functions of the couplings, to be differentiated to every order."""

import dataclasses
import functools
from collections.abc import Callable

import jax
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Observe, PyTree
from jaxrg.checks import as_count, as_floating_tree, check_function, check_key
from jaxrg.closures import as_partial
from jaxrg.samplers.driver import run
from jaxrg.samplers.ensembles.ladders import reduced_energy
from jaxrg.samplers.replicas import replicas
from jaxrg.samplers.single_spin import heat_bath
from jaxrg.sums import weighted_mean


@dataclasses.dataclass(frozen=True)
class _Chain:
    """How long the chains are, and how many; a function of what they are of, compared by these numbers."""

    num_burn_in: int
    num_steps: int
    num_chains: int

    def __call__(self, key: Array, observe: Callable, family: Callable, sampler: Callable, couplings: PyTree) -> PyTree:
        return _mean(self, key, observe, family, sampler, as_floating_tree("couplings", couplings))


@functools.partial(jax.jit, static_argnums=0)
def _mean(chain: _Chain, key: Array, observe: Callable, family: Callable, make: Callable, couplings: PyTree) -> PyTree:
    sampler = make(family(jax.lax.stop_gradient(couplings)))
    sampler = sampler if chain.num_chains == 1 else replicas(sampler, chain.num_chains)
    init_key, burn_key, run_key = jax.random.split(key, 3)
    state = sampler.init(init_key)
    if chain.num_burn_in:
        state = run(burn_key, sampler, state, chain.num_burn_in).state

    def measure(configuration: PyTree) -> tuple[Array, PyTree]:
        return reduced_energy(family, couplings, configuration), observe(configuration)

    energies, values = run(run_key, sampler, state, chain.num_steps, observe=measure).trace
    log_weights = (jax.lax.stop_gradient(energies) - energies).ravel()
    return jax.tree.map(lambda leaf: weighted_mean(log_weights, leaf.reshape((-1, *leaf.shape[2:]))), values)


def expectation(
    key: Array,
    observe: Observe,
    family: Callable,
    *,
    num_steps: int,
    num_burn_in: int,
    num_chains: int = 1,
    sampler: Callable = heat_bath,
) -> Callable[[PyTree], PyTree]:
    r"""The mean of an observable over a chain, as a function of couplings that ``jax.grad`` and the like can take.

    .. math:: \langle f \rangle = \frac{\sum_i w_i f_i}{\sum_i w_i}, \quad w_i = e^{H_0(s_i) - H(s_i; \theta)} = 1,
        \qquad \frac{\partial \langle f \rangle}{\partial \theta_a} =
        \langle \partial_a f \rangle - \langle f\, \partial_a H \rangle + \langle f \rangle \langle \partial_a H \rangle

    Configurations are drawn at the couplings without derivatives; H_0 is H there, held fixed. All weights are one, and
    derivatives of every order are the connected correlations of the chain. The value is a function of the key: one key
    gives one draw, in an optimiser take a new one every step. A covariance over N effective samples is low by a
    fraction 1/N. For errors, of derivatives too, run the sampler and give what it drew to
    `jaxrg.stats.reweighting.estimate`.

    Args:
        key: typed key.
        observe: function of one configuration to any tree of arrays.
        family: ``model = family(couplings)``, as ``lambda K: models.Ising(square, K)``; its Hamiltonian, or action, is
            differentiated.
        num_steps: of every chain.
        num_burn_in: steps before them, from the sampler's own start, that are left out.
        num_chains: chains side by side.
        sampler: ``sampler(model)``, such as `heat_bath` or `wolff`.

    Returns:
        ``means = fn(couplings)``, of any tree of numbers and arrays that the family takes.

    Raises:
        ValueError: no typed key, no functions, or counts that are no positive integers; a burn-in may be 0.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> pair = lattice.hypercubic((2,), periodic=False)  # <s s'> = tanh K
        >>> pairs, family = lambda s: s[0] * s[1], lambda K: models.Ising(pair, K)
        >>> mean = expectation(jax.random.key(0), pairs, family, num_steps=4_000, num_burn_in=10)
        >>> value, slope = jax.value_and_grad(mean)(0.5)
        >>> bool(abs(value - jnp.tanh(0.5)) < 0.1), bool(abs(slope - 1 / jnp.cosh(0.5) ** 2) < 0.1)
        (True, True)
    """
    check_key("key", key)
    check_function("observe", observe, of="one configuration")
    check_function("family", family, of="couplings")
    check_function("sampler", sampler, of="a model")
    counts = as_count("num_burn_in", num_burn_in, minimum=0), as_count("num_steps", num_steps)
    parts = key, as_partial(observe), as_partial(family), as_partial(sampler)
    return Partial(_Chain(*counts, as_count("num_chains", num_chains)), *parts)
