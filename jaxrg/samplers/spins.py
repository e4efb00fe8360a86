"""What the samplers of one configuration of sites share: state, start, measurement, site indices, check of a model."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import FieldModel, IntegerSites, Model, PyTree, Sampler, SiteSpace, Status
from jaxrg.checks import check_key, check_shape, kind_of
from jaxrg.models.sites import Signs
from jaxrg.samplers.fields import field_sampler, model_target
from jaxrg.samplers.kernels import check_members, from_kernel


class SpinState(NamedTuple):
    """One configuration."""

    spins: Array  # [*shape] int8, +1 or -1, or one of the states 0, ..., q - 1
    step: Array  # [] uint32, steps taken


class SpinInfo(NamedTuple):
    """What one sweep did."""

    acceptance: Array  # [] float32, fraction of spins that changed
    status: Array  # [] uint32 `Status`


class SwendsenWangInfo(NamedTuple):
    """One decomposition into clusters; the estimators hold for ferromagnets in zero field.

    Of a Potts model m is the mean of vectors to the corners of a simplex: m² = (q Σ n_s² - 1) / (q - 1).
    """

    num_clusters: Array  # [] int32
    largest_cluster: Array  # [] int32 sites
    magnetization_squared: Array  # [] float32 improved estimator of <m^2>
    magnetization_fourth: Array  # [] float32 improved estimator of <m^4>
    status: Array  # [] uint32 `Status`


class WolffInfo(NamedTuple):
    """One cluster."""

    cluster_size: Array  # [] int32 sites; its mean over N is <m^2> for a ferromagnet in zero field
    acceptance: Array  # [] float32, 1 if the cluster was flipped (always in zero field)
    status: Array  # [] uint32 `Status`


def sites_of(model: Model) -> SiteSpace:
    """What the values at a site are: signs, where a model does not say."""
    return getattr(model, "sites", Signs())


def init_spins(model: Model, key: Array, spins: Array | None = None) -> SpinState:
    """A random configuration, or the given one.

    Raises:
        ValueError: no typed key, or ``spins`` of another shape than the model's, or values that it does not have.
    """
    check_key("key", key)
    sites = cast(IntegerSites, sites_of(model))
    if spins is None:
        spins = sites.random(key, tuple(model.shape))
    return SpinState(sites.checked("spins", spins, tuple(model.shape)).astype(jnp.int8), jnp.zeros((), jnp.uint32))


def init_ordered(model: Model, key: Array, spins: Array | None = None) -> SpinState:
    """All spins alike, or the given configuration; cluster samplers relax fastest from order."""
    ordered = jnp.asarray(np.full(model.shape, cast(IntegerSites, sites_of(model)).ordered, np.int8))
    return init_spins(model, key, ordered if spins is None else spins)


def measure_spins(fn: Callable, state: SpinState) -> PyTree:
    """``fn`` of the configuration."""
    return fn(state.spins)


def status_of_leaves(model: Model) -> Array:
    """Not finite where a coupling or a field is not: no float among the leaves of a model may be."""
    leaves = [leaf for leaf in jax.tree.leaves(model) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]
    is_finite = functools.reduce(jnp.logical_and, [jnp.all(jnp.isfinite(leaf)) for leaf in leaves], jnp.bool_(True))
    return Status.NOT_FINITE.when(~is_finite)


def site_indices(model: Model) -> Array:
    """``[*sites]`` uint32 global index of every site, the counter of its random bits."""
    shape = model.shape[: len(model.shape) - len(sites_of(model).value_shape)]
    return jnp.arange(int(np.prod(shape)), dtype=jnp.uint32).reshape(shape)


def spin_sampler(kernel: Callable, model: Model, *, init: Callable = init_spins, protocol: type = Model) -> Sampler:
    """A sampler of a model's spins from ``state, info = kernel(model, key, state)`` with a `SpinState`.

    Raises:
        ValueError: the model lacks members of the protocol or is no pytree, or its own checks fail.
    """
    check_model(model, protocol)
    return from_kernel(Partial(init, model), Partial(kernel, model), measure_spins)


def site_sampler(kernel: Callable, model: Model) -> Sampler:
    """A sampler of a model with any sites from ``state, info = kernel(model, key, state)``.

    Raises:
        ValueError: as `spin_sampler`.
    """
    if sites_of(model).is_integer:
        return spin_sampler(kernel, model)
    check_model(model)
    return field_sampler(model_target(cast(FieldModel, model)), Partial(kernel, model))


def check_model(model: Model, protocol: type = Model) -> None:
    """Raise ValueError unless this is a `Model` (or `PairModel`) whose members fit its shape."""
    check_members(model, protocol)
    sites, shape = sites_of(model), tuple(model.shape)
    site_shape = shape[: len(shape) - len(sites.value_shape)]
    check_shape("model.colours", model.colours, site_shape)
    spins = jax.ShapeDtypeStruct(shape, jnp.int8 if sites.is_integer else jnp.float32)
    # New functions: before jax 0.12 a traced one may be taken from the cache for another class with as many fields.
    local_field = jax.eval_shape(lambda m, s: m.local_field(s), model, spins)
    _check_result("model.local_field", local_field, (*sites.field_shape, *site_shape))
    _check_result("model.hamiltonian", jax.eval_shape(lambda m, s: m.hamiltonian(s), model, spins), ())


def _check_result(name: str, result: Any, shape: tuple[int, ...]) -> None:
    is_float = hasattr(result, "dtype") and jnp.issubdtype(result.dtype, jnp.floating)
    if not is_float or result.shape != shape:
        found = f"{result.dtype} of shape {result.shape}" if hasattr(result, "dtype") else kind_of(result)
        raise ValueError(f"{name}: expected floats of shape {shape}, got {found}")
