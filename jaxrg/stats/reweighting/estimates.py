"""Values and honest errors of whatever is computed from an ensemble."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_floating_tree, check_function, takes
from jaxrg.closures import as_partial
from jaxrg.stats.autocorrelation import GammaEstimate, as_tau_exp, estimates
from jaxrg.stats.importance import is_trustworthy
from jaxrg.stats.reweighting.ensembles import Ensemble


def estimate(
    quantity: Callable[[Ensemble, PyTree], PyTree], ensemble: Ensemble, couplings: PyTree, *, tau_exp: float = 0.0
) -> PyTree:
    r"""Value and error of any function of an ensemble at these couplings: means, ratios, derivatives, ln Z.

    .. math:: \sigma^2 = \frac{C}{N}, \qquad C = \sum_t \Gamma_u(t), \qquad u_i = N \frac{\partial Q}{\partial c_i}

    where u is the influence of every sample: how the quantity Q changes if it counts more often, found by
    differentiation, the free energies of many states included. Its autocorrelation is taken in as in
    `jaxrg.stats.gamma_method`, of which this is the extension to weights and derivatives. Samples of all states at one
    time are one.

    Args:
        quantity: ``Q(ensemble, couplings)``, any tree of arrays, as
            ``lambda ensemble, K: jax.grad(ensemble.expectation(energy))(K)``.
        ensemble: from `single_histogram` or `multiple_histograms`.
        couplings: tree of numbers and arrays, as the Hamiltonian takes it; ``vmap`` over more of them.
        tau_exp: the slowest time of the chain in samples, where it is known; 0 where it is not.

    Returns:
        A `jaxrg.stats.GammaEstimate` in place of every array. ``is_converged`` is False where `gamma_method` would not
        trust the error; where `jaxrg.stats.importance` would not trust the weights at these couplings, as too few
        samples reach there; and where neighbouring states do not overlap.

    Raises:
        ValueError: no function of two arguments, no `Ensemble`, or a negative ``tau_exp``.

    Example:
        >>> from jaxrg.stats.reweighting import single_histogram
        >>> x = jax.random.normal(jax.random.key(0), (4, 2_500))
        >>> ensemble = single_histogram(lambda h, x: x**2 / 2 - h * x, x, 0.0)
        >>> slope = estimate(lambda ensemble, h: jax.grad(ensemble.expectation(lambda x: x))(h), ensemble, 0.1)
        >>> bool(abs(slope.value - 1) < 5 * slope.error), bool(slope.error < 0.03), bool(slope.is_converged)
        (True, True, True)
        >>> bool(estimate(lambda ensemble, h: ensemble.log_partition(h), ensemble, 5.0).is_converged)  # too far
        False

    Reference:
        Efron, The Jackknife, the Bootstrap and Other Resampling Plans (SIAM, 1982), for influences; Wolff, Comput.
        Phys. Commun. 156, 143 (2004).
    """
    check_function("quantity", quantity, of="an ensemble and couplings")
    if not takes(quantity, 2):
        raise ValueError("quantity: expected a function of an ensemble and couplings, got one of other parameters")
    if not isinstance(ensemble, Ensemble):
        raise ValueError(f"ensemble: expected one of single_histogram, got a {type(ensemble).__name__}")
    return _estimate(as_partial(quantity), ensemble, as_floating_tree("couplings", couplings), as_tau_exp(tau_exp))


@jax.jit
def _estimate(quantity: Callable, ensemble: Ensemble, couplings: PyTree, tau_exp: Array) -> PyTree:
    counts = ensemble.log_counts

    def of(log_counts: Array) -> PyTree:
        return jax.tree.map(jnp.asarray, quantity(ensemble._replace(log_counts=log_counts), couplings))

    values, pull = jax.vjp(of, counts)
    total = sum(leaf.size for leaf in jax.tree.leaves(values))

    def influence(place: Array) -> Array:
        """``[chains, samples]`` of one number of all values."""
        unit = jnp.zeros(total, counts.dtype).at[place].set(1)
        return pull(_unraveled(values, unit))[0]

    series = counts.size * jnp.moveaxis(jax.lax.map(influence, jnp.arange(total)), 0, -1)
    series = series - jnp.mean(series, axis=(0, 1), keepdims=True)
    # Energies are slow: whatever follows them has its band from them.
    beside = ensemble.energies - jnp.mean(ensemble.energies, axis=(0, 1), keepdims=True)
    found = estimates(values, _unraveled(values, series), beside, tau_exp)
    is_fine = is_trustworthy(ensemble.log_weights(couplings).ravel())
    if ensemble.free_energies is not None:
        is_fine &= ensemble.free_energies.is_converged

    def judged(one: GammaEstimate) -> GammaEstimate:
        return one._replace(is_converged=one.is_converged & is_fine)

    return jax.tree.map(judged, found, is_leaf=lambda node: isinstance(node, GammaEstimate))


def _unraveled(values: PyTree, numbers: Array) -> PyTree:
    """``[..., total]`` numbers as a tree like the values, with the leading axes before those of every leaf."""
    leaves, structure = jax.tree.flatten(values)
    parts, start = [], 0
    for leaf in leaves:
        part = numbers[..., start : start + leaf.size]
        parts.append(part.reshape((*numbers.shape[:-1], *leaf.shape)).astype(leaf.dtype))
        start += leaf.size
    return jax.tree.unflatten(structure, parts)
