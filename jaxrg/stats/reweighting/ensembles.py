"""Samples that know the density they were drawn from, and means at any couplings as functions to differentiate."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Observe, PyTree
from jaxrg.checks import as_floating_tree, check_function
from jaxrg.closures import as_partial
from jaxrg.stats._layout import as_chains
from jaxrg.stats.free_energies import FreeEnergies, multistate_bennett
from jaxrg.sums import blocked_sum, weighted_mean


class Ensemble(NamedTuple):
    """Samples of one or of several couplings, for means at all others; a pytree."""

    hamiltonian: Callable[[PyTree, PyTree], Array]  # H of couplings and one sample, a Partial
    samples: PyTree  # [chains, samples, states, ...]
    energies: Array  # [chains, samples, states] H of every sample at the couplings that it was drawn at
    works: Array  # [chains, samples, states, states] H at the couplings of the last axis, less that
    free_energies: FreeEnergies | None  # of the states; None of one
    log_counts: Array  # [chains, samples] ln of how often each counts: zero, but where influences are asked for

    def expectation(self, observe: Observe) -> Callable[[PyTree], PyTree]:
        r"""The mean of an observable as a function of the couplings, differentiable to every order.

        .. math:: \langle f \rangle(\theta) = \frac{\sum_i f_i\, e^{v_i(\theta)}}{\sum_i e^{v_i(\theta)}}, \qquad
            \frac{\partial \langle f \rangle}{\partial \theta_a} =
            -\langle f\, \partial_a H \rangle + \langle f \rangle \langle \partial_a H \rangle

        A covariance of N effective samples is low by a fraction 1/N. For its error and that of derivatives see
        `estimate`. What ``observe`` closes over may be differentiated too.

        Args:
            observe: function of one sample to any tree of arrays.
        """
        check_function("observe", observe, of="one sample")
        return Partial(_expectation, self, as_partial(observe))

    def log_partition(self, couplings: PyTree) -> Array:
        r"""ln Z at these couplings less that at the first ones sampled, whose derivatives are those of ln Z.

        .. math:: \ln \frac{Z(\theta)}{Z(\theta_1)} = \ln \frac1n \sum_i e^{v_i(\theta)}, \qquad
            \partial \ln Z = -\langle \partial H \rangle

        Args:
            couplings: tree of numbers and arrays, as the Hamiltonian takes it.
        """
        return _log_partition(self, as_floating_tree("couplings", couplings))

    def log_weights(self, couplings: PyTree) -> Array:
        r"""``[chains, samples, states]`` log-weights of all samples at these couplings.

        .. math:: v_i(\theta) = -H(s_i; \theta) - \ln \sum_k e^{f_k - H(s_i; \theta_k)}

        `jaxrg.stats.importance` of them in one row says what share of the samples is effective.

        Args:
            couplings: tree of numbers and arrays, as the Hamiltonian takes it.
        """
        return _log_weights(self, as_floating_tree("couplings", couplings))


def _flat(tree: PyTree) -> PyTree:
    """Samples of all chains and states along one axis."""
    return jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[3:])), tree)


def energies_at(hamiltonian: Callable, couplings: PyTree, samples: PyTree) -> Array:
    """``[chains, samples, states]`` H of all samples."""
    shape = jax.tree.leaves(samples)[0].shape[:3]
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[3:], leaf.dtype), samples)
    found = jax.eval_shape(hamiltonian, couplings, one)
    if getattr(found, "shape", None) != () or not jnp.issubdtype(found.dtype, jnp.floating):
        raise ValueError(f"hamiltonian: expected one floating number of couplings and one sample, got {found}")
    return jax.vmap(hamiltonian, (None, 0))(couplings, _flat(samples)).reshape(shape)


def _log_mixture(ensemble: Ensemble) -> Array:
    r"""``[chains, samples, states]`` ln of the density of all states together times e^H where a sample was drawn.

    One step of Newton's method from the free energies, which solve its equations: it moves them with the counts.
    """
    if ensemble.free_energies is None:
        return jnp.zeros_like(ensemble.energies)
    steps = jax.lax.stop_gradient(ensemble.free_energies.steps.value)
    free = jnp.concatenate([jnp.zeros(1, steps.dtype), jnp.cumsum(steps)])
    counts = jnp.exp(ensemble.log_counts).ravel()
    count = blocked_sum(counts)
    share = jax.nn.softmax(free[None, None, None] - ensemble.works, axis=-1)
    of_times = jnp.sum(share, axis=2).reshape((counts.size, -1))
    excess = blocked_sum(counts[:, None] * (of_times - 1)) / count
    rows = _flat(share)
    curvature = jnp.diag(blocked_sum(of_times)) - jnp.matmul(rows.T, rows, precision="highest")
    move = jnp.linalg.solve(curvature[1:, 1:] / counts.size, excess[1:])
    free = free - jnp.append(jnp.zeros(1, free.dtype), move)
    return jax.nn.logsumexp(free[None, None, None] - ensemble.works, axis=-1)


@jax.jit
def _log_weights(ensemble: Ensemble, couplings: PyTree) -> Array:
    work = energies_at(ensemble.hamiltonian, couplings, ensemble.samples) - ensemble.energies
    return -work - _log_mixture(ensemble)


def _with_counts(ensemble: Ensemble, couplings: PyTree) -> Array:
    """``[n]`` log-weights times counts."""
    return (_log_weights(ensemble, couplings) + ensemble.log_counts[..., None]).ravel()


@jax.jit
def _log_partition(ensemble: Ensemble, couplings: PyTree) -> Array:
    weights = _with_counts(ensemble, couplings)
    origin = weights[jnp.argmax(jax.lax.stop_gradient(weights))]
    count = blocked_sum(jnp.exp(ensemble.log_counts).ravel())
    return origin + jnp.log(blocked_sum(jnp.exp(weights - origin)) / count)


def _expectation(ensemble: Ensemble, observe: Callable, couplings: PyTree) -> PyTree:
    return _mean(ensemble, observe, as_floating_tree("couplings", couplings))


@jax.jit
def _mean(ensemble: Ensemble, observe: Callable, couplings: PyTree) -> PyTree:
    weights = _with_counts(ensemble, couplings)
    values = jax.vmap(observe)(_flat(ensemble.samples))
    return jax.tree.map(lambda leaf: weighted_mean(weights, leaf), values)


def _as_hamiltonian(hamiltonian: Any) -> Partial:
    check_function("hamiltonian", hamiltonian, of="couplings and one sample")
    return as_partial(hamiltonian)


def single_histogram(hamiltonian: Callable, samples: PyTree, couplings: PyTree) -> Ensemble:
    r"""Samples of one coupling, for means at others nearby and for derivatives.

    .. math:: v_i(\theta) = H(s_i; \theta_1) - H(s_i; \theta)

    Samples are whatever H and the observables are functions of: configurations, or in their place the few numbers that
    H depends on, as an energy E with H = K E, a tree of which takes far less memory. In float32 H of 10^6 is rounded by
    0.03, which is noise of the log-weights: there take a constant near their mean off the energies, which changes no
    weight.

    Args:
        hamiltonian: ``H(couplings, sample)``, the reduced H, a scalar: ``lambda K, s: models.Ising(square, K)
            .hamiltonian(s)``, or ``lambda K, x: K * x["energy"]``.
        samples: tree of ``[chains, samples, ...]``, as a trace of `jaxrg.samplers.run` is.
        couplings: tree of numbers and arrays at which they were drawn; no derivative goes through them.

    Returns:
        `Ensemble`, with an axis of one state.

    Raises:
        ValueError: no function, one that gives no scalar, samples without both axes or fewer than 4 a chain.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (4, 2_500))  # H = x^2/2 - h x has the mean h and the variance 1
        >>> ensemble = single_histogram(lambda h, x: x**2 / 2 - h * x, x, 0.0)
        >>> mean = ensemble.expectation(lambda x: x)
        >>> bool(abs(mean(0.3) - 0.3) < 0.05), bool(abs(jax.grad(mean)(0.0) - 1) < 0.05)
        (True, True)

    Reference:
        Ferrenberg & Swendsen, Phys. Rev. Lett. 61, 2635 (1988).
    """
    hamiltonian, couplings = _as_hamiltonian(hamiltonian), as_floating_tree("couplings", couplings)
    return _single(hamiltonian, as_chains("samples", samples, keep_integers=True), couplings)


@jax.jit
def _single(hamiltonian: Callable, samples: PyTree, couplings: PyTree) -> Ensemble:
    samples, couplings = jax.lax.stop_gradient((jax.tree.map(lambda leaf: leaf[:, :, None], samples), couplings))
    energies = energies_at(hamiltonian, couplings, samples)
    return Ensemble(hamiltonian, samples, energies, jnp.zeros_like(energies)[..., None], None, energies[..., 0] * 0)


def multiple_histograms(hamiltonian: Callable, samples: PyTree, couplings: PyTree) -> Ensemble:
    r"""Samples of several couplings, each of which counts at all others: multiple histograms, or MBAR.

    .. math:: v_i(\theta) = -H(s_i; \theta) - \ln \sum_{k=1}^K e^{f_k - H(s_i; \theta_k)}

    with free energies from `jaxrg.stats.free_energies.multistate_bennett`; of the estimates that weight samples, these
    have the least variance. Neighbours must overlap: ``free_energies.is_converged`` says whether they do.

    Args:
        hamiltonian: as for `single_histogram`.
        samples: tree of ``[chains, samples, K, ...]``, as many of all K couplings; those of one place belong together,
            as in a tempered chain, whose trace ``[K, samples, ...]`` is ``jnp.swapaxes(trace, 0, 1)[None]`` here.
        couplings: tree of ``[K, ...]``, neighbours in a row, K at least 2.

    Returns:
        `Ensemble`.

    Raises:
        ValueError: as `single_histogram`, or couplings that are not one for every state.

    Example:
        >>> fields = jnp.array([0.0, 1.0, 2.0])
        >>> x = jax.random.normal(jax.random.key(0), (4, 1_000, 3)) + fields[None, None]
        >>> ensemble = multiple_histograms(lambda h, x: x**2 / 2 - h * x, x, fields)
        >>> bool(abs(ensemble.log_partition(1.5) - 1.5**2 / 2) < 0.1)
        True

    Reference:
        Ferrenberg & Swendsen, Phys. Rev. Lett. 63, 1195 (1989); Shirts & Chodera, J. Chem. Phys. 129, 124105 (2008).
    """
    hamiltonian, couplings = _as_hamiltonian(hamiltonian), as_floating_tree("couplings", couplings)
    chains = as_chains("samples", samples, keep_integers=True)
    shapes = [leaf.shape[:1] for leaf in jax.tree.leaves(couplings)]
    num_states = shapes[0][0] if shapes and shapes[0] else 0
    if num_states < 2 or set(shapes) != {(num_states,)}:
        raise ValueError(f"couplings: expected [K, ...] of at least 2 states, got leading axes {shapes}")
    if {leaf.shape[2:3] for leaf in jax.tree.leaves(chains)} != {(num_states,)}:
        raise ValueError(
            f"samples: expected [chains, samples, {num_states}, ...], one for each of the couplings, got shapes "
            f"{[leaf.shape for leaf in jax.tree.leaves(chains)]}"
        )
    return _multiple(hamiltonian, chains, couplings)


@jax.jit
def _multiple(hamiltonian: Callable, samples: PyTree, couplings: PyTree) -> Ensemble:
    samples, couplings = jax.lax.stop_gradient((samples, couplings))
    all_of_them = jax.lax.map(lambda state: energies_at(hamiltonian, state, samples), couplings)
    all_of_them = jnp.moveaxis(all_of_them, 0, -1)  # [chains, samples, states, states]
    energies = jnp.diagonal(all_of_them, axis1=2, axis2=3)
    works = all_of_them - energies[..., None]
    return Ensemble(hamiltonian, samples, energies, works, multistate_bennett(works), energies[..., 0] * 0)
