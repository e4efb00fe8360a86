"""Exact symmetries: densities averaged over a finite group, and couplings that follow a common phase."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Bijector, Density, DensityLike, PyTree
from jaxrg.checks import as_count, check_function, check_key, kind_of
from jaxrg.closures import as_functions, as_partial


def negated(configuration: PyTree) -> PyTree:
    """-x, the reflection of Z2."""
    return jax.tree.map(jnp.negative, configuration)


def symmetrized(density: Density | DensityLike, elements: Sequence[Callable[[PyTree], PyTree]] = (negated,)) -> Density:
    r"""The average of a density over a finite group: exactly symmetric, exactly normalised.

    .. math:: \bar q(x) = \frac{1}{|G|} \sum_{g \in G} q(g x)

    Each draw is moved by a random element. So a density that has found one of two phases covers both, and its KL
    falls by up to ln|G|; the cost is one evaluation of the density for every element.

    Args:
        density: any `jaxrg.base.Density`.
        elements: the elements of the group but the identity, functions of one configuration that keep volumes, as
            the negation of Z2, the default, or translations and rotations of a lattice.

    Returns:
        A density with the same parameters.

    Raises:
        ValueError: no density, or elements that are no functions.

    Example:
        >>> from jaxrg.flows.priors import gaussian
        >>> from jaxrg.base import Density
        >>> prior = gaussian((1,))
        >>> moved = Density(prior.init, lambda key, params, n: (prior.sample(key, params, n)[0] + 3,) * 2,
        ...                 lambda params, x: prior.log_prob(params, x - 3))
        >>> both = symmetrized(moved)
        >>> float(both.log_prob((), jnp.array([[3.0], [-3.0]]))[1])  # -ln 2 - ln(2 pi) / 2
        -1.61208...

    Reference:
        Wu, Wang & Zhang, Phys. Rev. Lett. 122, 080602 (2019).
    """
    density = as_functions("density", density, Density)
    if not isinstance(elements, Sequence) or not elements:
        raise ValueError(f"elements: expected functions of a configuration, one or more, got {kind_of(elements)}")
    for element in elements:
        check_function("elements", element, of="one configuration")
    group = tuple(map(as_partial, elements))
    return Density(density.init, Partial(_sample, density, group), Partial(_log_prob, density, group))


def _sample(density: Density, group: tuple, key: Array, params: PyTree, num_samples: int) -> tuple[PyTree, Array]:
    check_key("key", key)
    return _draw(density, group, key, params, num_samples=as_count("num_samples", num_samples))


@functools.partial(jax.jit, static_argnames="num_samples")
def _draw(density: Density, group: tuple, key: Array, params: PyTree, *, num_samples: int) -> tuple[PyTree, Array]:
    draw_key, choice_key = jax.random.split(key)
    start, log_prob = density.sample(draw_key, params, num_samples)
    orbit = [start, *(jax.vmap(element)(start) for element in group)]
    # The average over the orbit is the same at each of its points, so the draw's own value is one of them.
    log_prob = _averaged([log_prob, *(density.log_prob(params, moved) for moved in orbit[1:])])
    choice = jax.random.randint(choice_key, (num_samples,), 0, len(orbit), jnp.int32)

    def chosen(*leaves: Array) -> Array:
        picked = leaves[0]
        for number, leaf in enumerate(leaves[1:], 1):
            is_it = (choice == number).reshape((-1,) + (1,) * (leaf.ndim - 1))
            picked = jnp.where(is_it, leaf, picked)
        return picked

    return jax.tree.map(chosen, *orbit), log_prob


@jax.jit
def _log_prob(density: Density, group: tuple, params: PyTree, configurations: PyTree) -> Array:
    moved = [configurations, *(jax.vmap(element)(configurations) for element in group)]
    return _averaged([density.log_prob(params, values) for values in moved])


def _averaged(log_probs: list[Array]) -> Array:
    return jax.nn.logsumexp(jnp.stack(log_probs), axis=0) - np.log(len(log_probs)).astype(log_probs[0].dtype)


def phase_equivariant(coupling: Bijector, frozen: Any) -> Bijector:
    r"""A coupling of complex fields that commutes with a common phase of all sites: with it a flow is U(1) symmetric.

    .. math:: f(x) = R_\alpha\, c(R_{-\alpha} x), \qquad \alpha = \arg \sum_{i \in F} x_i

    The coupling c works in the frame of the mean phase of the sites F that it leaves as they are, so it may be any
    coupling whatever. The frame turns by an angle that F alone decides, hence the log-determinant is that of c. The
    density of such a flow, with a Gaussian prior of one scale for both components of a site, is exactly symmetric.

    Args:
        coupling: a bijector of events ``[*sites, 2]`` that keeps both components of every frozen site.
        frozen: ``[*sites]`` bool, the sites that it keeps, some of them.

    Returns:
        A bijector of the same events with the same parameters.

    Raises:
        ValueError: no bijector, a mask without a frozen site, or events of another shape.

    Example:
        >>> from jaxrg.base import Bijector
        >>> def shift(sign):
        ...     return lambda _, x: (x.at[1].add(sign * x[0] ** 2), jnp.zeros(x.shape[2:]))
        >>> flow = phase_equivariant(Bijector(lambda key: (), shift(1), shift(-1)), [True, False])
        >>> field = jnp.array([[0.0, 2.0], [1.0, 0.0]])  # 2i and 1
        >>> flow.forward((), field)[0].round(5).tolist()  # the frozen site says where to: 1 + 4i
        [[0.0, 2.0], [1.0, 4.0]]
    """
    init, forward, inverse = as_functions("coupling", coupling, Bijector)
    mask = np.asarray(frozen)
    if mask.dtype != bool or mask.ndim == 0 or not mask.any():
        raise ValueError(f"frozen: expected booleans [*sites], some of them True, got {kind_of(frozen)}")
    sites = jnp.asarray(mask)
    return Bijector(init, Partial(_in_frame, forward, sites), Partial(_in_frame, inverse, sites))


@jax.jit
def _in_frame(apply: Callable, frozen: Array, params: PyTree, field: Array) -> tuple[Array, Array]:
    ndim = frozen.ndim
    if field.shape[: ndim + 1] != (*frozen.shape, 2):
        raise ValueError(f"event: expected shape {(*frozen.shape, 2)}, and lanes after these axes, got {field.shape}")
    mask = frozen.reshape(frozen.shape + (1,) * (field.ndim - ndim))
    total = jnp.sum(jnp.where(mask, field, 0), axis=tuple(range(ndim)))
    # A vanishing sum has no phase; any will do, since that happens with probability zero.
    is_zero = jnp.sum(jnp.square(total), axis=0) == 0
    real, imaginary = jnp.where(is_zero, 1, total[0]), jnp.where(is_zero, 0, total[1])
    length = jnp.sqrt(jnp.square(real) + jnp.square(imaginary))
    cosine, sine = real / length, imaginary / length
    turned, log_det = apply(params, _turn(field, cosine, -sine, ndim))
    # What is frozen keeps its bits: turned there and back it would drift.
    return jnp.where(mask, field, _turn(turned, cosine, sine, ndim)), log_det


def _turn(field: Array, cosine: Array, sine: Array, axis: int) -> Array:
    real, imaginary = jnp.moveaxis(field, axis, 0)
    cosine, sine = (value.reshape((1,) * axis + value.shape) for value in (cosine, sine))
    return jnp.stack([cosine * real - sine * imaginary, sine * real + cosine * imaginary], axis=axis)
