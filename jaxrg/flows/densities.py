"""A flow with a prior as a density: what objectives, corrections and benchmarks take."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Bijector, Density, PyTree
from jaxrg.checks import as_count, as_floating, check_function, check_key, kind_of
from jaxrg.closures import as_functions, as_partial


class FlowParams(NamedTuple):
    """Parameters of a density made of a flow and a prior."""

    flow: PyTree
    prior: PyTree


def density(flow: Bijector, prior: Density) -> Density:
    r"""The density of a flow's output when its latents are drawn from a prior.

    .. math:: \ln q(x) = \ln p(z) - \ln\left|\det \frac{\partial x}{\partial z}\right|, \qquad x = f(z)

    Args:
        flow: a `jaxrg.base.Bijector`, or what has its three functions, as `rg_flow`; ``forward`` generates.
        prior: of the flow's latents, such as ``gaussian(geometry(flow).latent_shapes)``.

    Returns:
        A density whose parameters are `FlowParams`; draws are differentiable by them.

    Raises:
        ValueError: something without the functions of a bijector, or of a density.

    Example:
        >>> from jaxrg.base import Bijector
        >>> from jaxrg.flows.priors import gaussian
        >>> double = Bijector(lambda key: (), lambda _, x: (2 * x, jnp.full(x.shape[1:], jnp.log(2.0))),
        ...                   lambda _, y: (y / 2, jnp.full(y.shape[1:], -jnp.log(2.0))))
        >>> wide = density(double, gaussian((1,)))
        >>> float(wide.log_prob(wide.init(jax.random.key(0)), jnp.zeros((3, 1)))[0])  # -ln 2 - ln(2 pi) / 2
        -1.6120857...

    Reference:
        Rezende & Mohamed, ICML (2015).
    """
    flow, prior = as_functions("flow", flow, Bijector), as_functions("prior", prior, Density)
    return Density(Partial(_init, flow, prior), Partial(_sample, flow, prior), Partial(_log_prob, flow, prior))


def _init(flow: Bijector, prior: Density, key: Array) -> FlowParams:
    check_key("key", key)
    flow_key, prior_key = jax.random.split(key)
    return FlowParams(flow.init(flow_key), prior.init(prior_key))


def _lanes_last(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), tree)


def _lanes_first(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), tree)


def _sample(flow: Bijector, prior: Density, key: Array, params: FlowParams, num_samples: int) -> tuple[PyTree, Array]:
    check_key("key", key)
    check_params(params)
    return _draw(flow, prior, key, params, num_samples=as_count("num_samples", num_samples))


@functools.partial(jax.jit, static_argnames="num_samples")
def _draw(flow: Bijector, prior: Density, key: Array, params: FlowParams, *, num_samples: int):
    latents, log_prob = prior.sample(key, params.prior, num_samples)
    field, log_det = flow.forward(params.flow, _lanes_last(latents))
    return _lanes_first(field), log_prob - log_det


def _log_prob(flow: Bijector, prior: Density, params: FlowParams, configurations: PyTree) -> Array:
    check_params(params)
    return _evaluate(flow, prior, params, as_configurations(configurations))


@jax.jit
def _evaluate(flow: Bijector, prior: Density, params: FlowParams, configurations: PyTree) -> Array:
    latents, log_det = flow.inverse(params.flow, _lanes_last(configurations))
    return prior.log_prob(params.prior, _lanes_first(latents)) + log_det


def as_configurations(configurations: Any) -> PyTree:
    """Arrays ``[num_samples, ...]`` of what is drawn, as floats of at least single precision.

    Raises:
        ValueError: numbers alone, or no real numbers.
    """
    arrays = jax.tree.map(
        lambda leaf: as_floating("configurations", leaf), configurations, is_leaf=lambda node: isinstance(node, list)
    )
    if not jax.tree.leaves(arrays) or any(leaf.ndim == 0 for leaf in jax.tree.leaves(arrays)):
        raise ValueError(f"configurations: expected [num_samples, *shape], got {kind_of(configurations)}")
    if not all(leaf.shape[0] for leaf in jax.tree.leaves(arrays)):
        raise ValueError("configurations: expected at least one sample, got none")
    return arrays


def check_params(params: Any) -> None:
    """Raise ValueError unless these are `FlowParams`."""
    if not isinstance(params, FlowParams):
        raise ValueError(f"params: expected FlowParams(flow, prior), as init gives them, got {kind_of(params)}")


def latent_action(flow: Bijector, params: PyTree, action: Callable) -> Partial:
    r"""The action of a target in the latents of a flow: there it is nearly that of the prior, and chains move fast.

    .. math:: U(z) = S(f(z)) - \ln\left|\det\frac{\partial f}{\partial z}\right|
        = -[\ln p(z) + \ln\pi(x) - \ln q(x)], \qquad x = f(z)

    Give it to `jaxrg.samplers.hmc` with latents to ``start`` from, and observe ``flow.forward(params, latents)[0]``;
    the chain is exact whatever the flow has learned.

    Args:
        flow: a `jaxrg.base.Bijector`.
        params: of the flow; leaves of the result, so that other values do not recompile.
        action: S of one configuration.

    Returns:
        ``U = latent_action(latents)`` of the latents of one configuration.

    Raises:
        ValueError: no bijector, or an action that is no function.

    Example:
        >>> from jaxrg.base import Bijector
        >>> double = Bijector(lambda key: (), lambda _, x: (2 * x, jnp.full(x.shape[1:], jnp.log(2.0))),
        ...                   lambda _, y: (y / 2, jnp.full(y.shape[1:], -jnp.log(2.0))))
        >>> action = latent_action(double, (), lambda x: jnp.sum(x**2) / 8)  # a Gaussian of deviation 2
        >>> round(float(action(jnp.ones(1)) - action(jnp.zeros(1))), 4)  # of deviation 1
        0.5

    Reference:
        Li & Wang, Phys. Rev. Lett. 121, 260601 (2018).
    """
    flow = as_functions("flow", flow, Bijector)
    check_function("action", action, of="one configuration")
    return Partial(_latent_action, flow, as_partial(action), params)


@jax.jit
def _latent_action(flow: Bijector, action: Callable, params: PyTree, latents: PyTree) -> Array:
    field, log_det = flow.forward(params, latents)
    energy = action(field)
    return energy - log_det.astype(energy.dtype)
