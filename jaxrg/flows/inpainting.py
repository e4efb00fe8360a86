"""Missing sites of a field given the others: by the latents of their causal cone alone, which O(log L) blocks make.

The latents outside the cone do not depend on the missing sites: the known ones give them exactly. Those inside are
functions of the missing values, so that the density of the flow is the exact density of these, up to a constant. As
renormalisation is local, only the blocks of the cone are evaluated again; the others are done once.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg.base import Bijector, Density, PyTree
from jaxrg.checks import as_count, as_floating, check_number, check_shape
from jaxrg.closures import as_functions
from jaxrg.flows.cones import as_region
from jaxrg.flows.densities import check_params
from jaxrg.flows.hierarchy import geometry, parts_of
from jaxrg.flows.latents import check_finite
from jaxrg.flows.passes import Geometry, on_blocks, passes, renormalise, split


class PassPlan(NamedTuple):
    """Where one pass finds the sites that differ, all as int32."""

    touched: Any  # [K] which blocks hold any
    into: Any  # places of those in the sites of these blocks, ``[block**ndim * K]``
    held: Any  # which of the sites that come in they are
    passed: Any  # which no block holds


class LevelPlan(NamedTuple):
    """Where the sites that differ are after the passes of a level."""

    places: Any  # in the flattened latents of the level
    kept: Any  # which of the sites they are
    up: Any  # which go to the next level


@functools.lru_cache(maxsize=64)
def _plan(tree: Geometry, region: bytes) -> list[tuple[list[PassPlan], LevelPlan]]:
    """What happens to the sites of a region, from the finest level up; kept, as one region serves many fields."""
    sites = np.frombuffer(region, np.int64)
    plain, levels = tree.without_channels(), []
    for level in range(plain.num_levels):
        index = np.arange(math.prod(plain.sides_of(level)), dtype=np.int32).reshape(plain.sides_of(level))
        steps = []
        for number in passes(plain, level):
            found = []
            on_blocks(plain, level, number, lambda *at, into=found: (into.append(at[2]) or at[2], None), index)
            blocks = found[0].reshape(plain.block**plain.ndim, -1)
            touched = np.flatnonzero(np.isin(blocks, sites).any(axis=0))
            blocks = blocks[:, touched].ravel()
            into, held, passed = _matched(blocks, sites)
            steps.append(PassPlan(touched, into, held, passed))
            sites = np.concatenate([blocks, sites[passed]])
        if level < plain.num_levels - 1:
            coarse, latents = split(index, plain.ndim)
            places, kept, up = _matched(latents.ravel(), sites)
            levels.append((steps, LevelPlan(places, kept, up)))
            sites = _matched(coarse.ravel(), sites[up])[0]
        else:
            levels.append((steps, LevelPlan(sites, np.arange(len(sites)), np.arange(0))))
    return jax.tree.map(_indices, levels)


def _indices(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.int32)  # they stay on the host until a compiled function takes them


def _matched(among: np.ndarray, sites: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in ``among`` of those sites that are there, which these are, and which the others."""
    where = {site: place for place, site in enumerate(among.tolist())}
    is_there = np.array([site in where for site in sites.tolist()], bool)
    places = np.array([where[site] for site in sites[is_there].tolist()], np.int32)
    return places, np.flatnonzero(is_there), np.flatnonzero(~is_there)


def _to_rows(blocks: Array, tree: Geometry) -> Array:
    """``[*block, (channels), K] -> [block**ndim * K, (channels)]``"""
    rows = jnp.moveaxis(blocks, tree.ndim, -1) if tree.channels else blocks
    return rows.reshape(-1, *tree.channels)


def _from_rows(rows: Array, tree: Geometry) -> Array:
    blocks = rows.reshape(*(tree.block,) * tree.ndim, -1, *tree.channels)
    return jnp.moveaxis(blocks, -1, tree.ndim) if tree.channels else blocks


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["flow", "prior", "params", "field", "sites", "plan", "bases", "latents", "constant"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class MissingSites:
    r"""Values of the missing sites as a `jaxrg.base.FieldModel`: the flow's density of them, the other sites given.

    .. math:: S(x_M) = -\ln q(x_M, x_K), \qquad p(x_M \mid x_K) = e^{-S(x_M)} / Z(x_K)

    `inpaint` looks for its minimum; `jaxrg.samplers.hmc` draws from it. Made by `missing_sites`.
    """

    flow: Bijector
    prior: Density
    params: PyTree
    field: Array  # [*sides, (channels)]
    sites: Any  # [M] int32
    plan: PyTree
    bases: list  # of every pass, the rows of the touched blocks
    latents: dict  # of the field
    constant: Array  # [] log-determinants of all other blocks

    @property
    def shape(self) -> tuple[int, ...]:
        """``[M, (channels)]``, missing sites in the order of the flattened lattice."""
        tree = geometry(self.flow)
        return self.sites.shape + tree.channels

    @property
    def start(self) -> Array:
        """Values at the missing sites in the field that was given."""
        return self.field.reshape(-1, *self.shape[1:])[self.sites]

    def filled(self, values: Array) -> Array:
        """The field ``[*shape]`` with these values at the missing sites."""
        check_shape("values", values, self.shape)
        flat = self.field.reshape(-1, *self.shape[1:])
        return flat.at[self.sites].set(values).reshape(self.field.shape)

    def action(self, values: Array) -> Array:
        """Scalar -ln q of the field with these values, evaluated on the causal cone."""
        check_shape("values", values, self.shape)
        (tree, layers), latents, total = parts_of(self.flow), dict(self.latents), self.constant
        rows, bases = values, iter(self.bases)
        for level, (steps, leave) in enumerate(self.plan):
            for number, step in zip(passes(tree, level), steps, strict=True):
                layer, own = layers.of(self.params.flow, level, number)
                blocks = next(bases).at[step.into].set(rows[step.held])
                blocks, log_det = layer.inverse(own, _from_rows(blocks, tree))
                rows = jnp.concatenate([_to_rows(blocks, tree), rows[step.passed]])
                total = total + jnp.sum(log_det)
            flat = latents[level].reshape(-1, *tree.channels)
            latents[level] = flat.at[leave.places].set(rows[leave.kept]).reshape(latents[level].shape)
            rows = rows[leave.up]
        if layers.top is not None:
            top = tree.num_levels - 1
            latents[top], log_det = layers.top.inverse(self.params.flow["top"], latents[top])
            total = total + log_det
        batch: Any = {level: part[None] for level, part in latents.items()}
        return -(self.prior.log_prob(self.params.prior, batch)[0] + total)

    def observables(self, values: Array) -> dict[str, Array]:
        """Mean of the missing values."""
        return {"mean": jnp.mean(values)}


def missing_sites(flow: Bijector, prior: Density, params: PyTree, field: Any, is_missing: Any) -> MissingSites:
    """The density of the missing sites of a field given the others, on their causal cone.

    Args:
        flow: from `rg_flow`.
        prior: of its latents, as for `density`.
        params: of ``density(flow, prior)``, with ``flow`` and ``prior``.
        field: ``[*shape]``; what it has at the missing sites is where a search or a chain starts.
        is_missing: ``[*sides]`` booleans, True somewhere.

    Returns:
        A model of fields ``[num_missing, (channels)]``; another field, or region with as many blocks, has the same
        compiled programs.

    Raises:
        ValueError: NaN or infinities, shapes that do not fit, or nothing missing.
    """
    tree, _ = parts_of(flow)
    prior = as_functions("prior", prior, Density)
    check_params(params)
    values = as_floating("field", field)
    check_shape("field", values, tree.shape)
    check_finite("field", values)
    sites = np.flatnonzero(as_region(tree, is_missing))
    if not sites.size:
        raise ValueError("is_missing: expected True somewhere, got False everywhere")
    plan = _plan(tree, sites.astype(np.int64).tobytes())
    bases, latents, constant = _evaluated_once(flow, params.flow, values, plan)
    return MissingSites(flow, prior, params, values, _indices(sites), plan, bases, latents, constant)


@jax.jit
def _evaluated_once(flow: Bijector, params: PyTree, field: Array, plan: PyTree) -> tuple[list, dict, Array]:
    """What the touched blocks hold, all latents before the top, and the log-determinants of the other blocks."""
    tree, layers = parts_of(flow)
    steps = iter([step for steps, _ in plan for step in steps])

    def act(level: int, number: int, blocks: Array) -> tuple[Array, tuple[Array, Array]]:
        layer, own = layers.of(params, level, number)
        touched = next(steps).touched
        base = _to_rows(blocks.reshape(*tree.event, -1)[..., touched], tree)
        blocks, log_det = layer.inverse(own, blocks)
        return blocks, (base, jnp.sum(log_det.reshape(-1).at[touched].set(0)))

    latents, extras = renormalise(tree, act, field)
    constant = functools.reduce(jnp.add, [log_det for _, log_det in extras], jnp.zeros((), field.dtype))
    return [base for base, _ in extras], latents, constant


class Inpainting(NamedTuple):
    """A field with its missing sites filled in."""

    field: Array  # [*shape]
    action_at_start: Array  # [] -ln q
    action: Array  # [] -ln q now


def inpaint(
    flow: Bijector,
    prior: Density,
    params: PyTree,
    field: Any,
    is_missing: Any,
    *,
    num_steps: int = 300,
    learning_rate: float = 0.05,
) -> Inpainting:
    r"""The most probable values of missing sites, the others given: only the latents in their causal cone move.

    .. math:: x_M = \arg\max_{x_M} \ln q(x_M, x_K)

    The known sites hold exactly; nothing weighs them against the prior. To draw values in place of the best ones, give
    `missing_sites` to `jaxrg.samplers.hmc`; their mean has a smaller expected squared error than the mode.

    Args:
        flow, prior, params, field, is_missing: as for `missing_sites`.
        num_steps: of Adam; another number does not compile anew.
        learning_rate: of Adam, in units of the field.

    Raises:
        ValueError: as `missing_sites`, or a number of steps or a rate that is none.

    Reference:
        Hu, Wu, You, Olshausen & Chen, arXiv:2010.00029 (2020), who optimise the latents of the cone.
    """
    steps = as_count("num_steps", num_steps)
    check_number("learning_rate", learning_rate, above=0.0)
    model = missing_sites(flow, prior, params, field, is_missing)
    return _search(model, steps, as_floating("learning_rate", learning_rate))


@jax.jit
def _search(model: MissingSites, num_steps: int, learning_rate: Array) -> Inpainting:
    optimiser = optax.scale_by_adam()

    def step(_: Array, carry: PyTree) -> PyTree:
        values, state = carry
        gradient = jax.grad(model.action)(values)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a decay to an integer count
            updates, state = optimiser.update(gradient, state)
        return values - learning_rate.astype(values.dtype) * jnp.asarray(updates), state

    start = model.start
    values, _ = jax.lax.fori_loop(0, num_steps, step, (start, optimiser.init(start)))
    return Inpainting(model.filled(values), model.action(start), model.action(values))
