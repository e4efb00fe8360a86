"""The Bayesian case model: clusters explained by one of their own members and by the features in which it matters."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaln
from jax.tree_util import Partial

from jaxrg.base import Sampler, Status
from jaxrg.checks import PLAIN, as_count, as_integers, as_parameter, check_number, kind_of
from jaxrg.samplers import from_kernel


class CaseState(NamedTuple):
    """Latent variables of a `CaseModel`."""

    assignments: Array  # int [samples, features], the cluster of every entry
    subspaces: Array  # bool [clusters, features], the features that matter
    prototypes: Array  # int [clusters], the sample that stands for each
    step: Array  # uint32, steps taken


class CaseInfo(NamedTuple):
    """What a step reports."""

    status: Array  # uint32


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["observations", "mixing", "smoothing", "emphasis", "relevance"],
    meta_fields=["num_values", "num_clusters"],
)
@dataclasses.dataclass(frozen=True)
class CaseModel:
    r"""Discrete data as mixtures of clusters, each with a prototype p_s and a subspace ω_s.

    .. math:: x_{ij} \sim \phi_{z_{ij} j}, \quad z_{ij} \sim \pi_i, \quad \pi_i \sim \mathrm{Dir}(\alpha), \quad
        \phi_{sj} \sim \mathrm{Dir}(g_{sj}), \quad g_{sjv} = \lambda (1 + c\,\omega_{sj} [x_{p_s j} = v])

    with ω ~ Bernoulli(q) and p_s uniform over the samples. π and φ are integrated out. The prior of φ looks at the data
    through the prototypes, so this is a posterior to sample and no way to generate data.

    Attributes:
        observations: int ``[samples, features]`` in 0, ..., num_values - 1.
        num_values: of every feature; static.
        num_clusters: static.
        mixing: α; small values give every sample one cluster.
        smoothing: λ.
        emphasis: c, how much likelier the value of the prototype is where the feature matters.
        relevance: q, the share of features that matter, before seeing data.

    Reference:
        Kim, Rudin & Shah, NIPS 2014, arXiv:1503.01161.
    """

    observations: Any
    num_values: int
    num_clusters: int
    mixing: Any = 0.1
    smoothing: Any = 1.0
    emphasis: Any = 50.0
    relevance: Any = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.observations, (*PLAIN, Array)):
            return  # a placeholder while JAX rebuilds the pytree
        as_count("num_clusters", self.num_clusters)
        last = as_count("num_values", self.num_values, minimum=2) - 1
        given = as_integers("observations", self.observations, minimum=0, maximum=last)
        if given.ndim < 2 or not given.size:
            raise ValueError(f"observations: expected [samples, features], got shape {tuple(given.shape)}")
        object.__setattr__(self, "observations", given)
        for name in ("mixing", "smoothing", "emphasis", "relevance"):
            value = as_parameter(name, getattr(self, name))
            if not jnp.ndim(value) or given.ndim == 2:  # models that are stacked have stacked numbers
                check_number(name, value, above=0.0, below=1.0 if name == "relevance" else float("inf"))
            object.__setattr__(self, name, value)

    def counts(self, state: CaseState) -> Array:
        """``[clusters, features, values]``: entries of each value in each cluster."""
        in_cluster = jax.nn.one_hot(state.assignments, self.num_clusters, dtype=self.mixing.dtype)
        has_value = jax.nn.one_hot(self.observations, self.num_values, dtype=self.mixing.dtype)
        return jnp.einsum("njs,njv->sjv", in_cluster, has_value)

    def membership(self, state: CaseState) -> Array:
        r"""``[samples, clusters]`` mean of π given the assignments, :math:`(\alpha + n_{is})/(S\alpha + P)`."""
        own = jax.nn.one_hot(state.assignments, self.num_clusters, dtype=self.mixing.dtype).sum(axis=1)
        return (self.mixing + own) / (self.num_clusters * self.mixing + self.observations.shape[1])

    def log_joint(self, state: CaseState) -> Array:
        """Scalar ln P(x, z, ω, p), with π and φ integrated out."""
        num_samples, num_features = self.observations.shape
        alpha, total, counts = self.mixing, self.num_clusters * self.mixing, self.counts(state)
        own = jax.nn.one_hot(state.assignments, self.num_clusters, dtype=alpha.dtype).sum(axis=1)
        mixing = jnp.sum(gammaln(alpha + own) - gammaln(alpha))
        mixing = mixing + num_samples * (gammaln(total) - gammaln(total + num_features))
        flat = self.num_values * self.smoothing
        plain = jnp.sum(gammaln(self.smoothing + counts) - gammaln(self.smoothing))
        plain = plain + jnp.sum(gammaln(flat) - gammaln(flat + counts.sum(axis=2)))
        evidence = jnp.log(self.relevance) - jnp.log1p(-self.relevance) + self._of_prototypes(counts, state.prototypes)
        prior = state.subspaces.size * jnp.log1p(-self.relevance) - self.num_clusters * jnp.log(float(num_samples))
        return mixing + plain + jnp.sum(jnp.where(state.subspaces, evidence, 0)) + prior

    def _evidence(self, counts: Array) -> Array:
        """``[clusters, features, values]``: ln of how much likelier the entries are if a value is emphasised."""
        low, high = self.smoothing, self.smoothing * (1 + self.emphasis)
        flat, raised = self.num_values * low, self.num_values * low + low * self.emphasis
        total = counts.sum(axis=2, keepdims=True)
        own = gammaln(high + counts) - gammaln(high) - gammaln(low + counts) + gammaln(low)
        return own - gammaln(raised + total) + gammaln(raised) + gammaln(flat + total) - gammaln(flat)

    def _of_prototypes(self, counts: Array, prototypes: Array) -> Array:
        """``[clusters, features]`` the same for the values of the prototypes."""
        values = self.observations[prototypes][..., None]
        return jnp.take_along_axis(self._evidence(counts), values, axis=2)[..., 0]


def case_sampler(model: CaseModel) -> Sampler:
    r"""Collapsed Gibbs sampling of a `CaseModel`, for `jaxrg.samplers.run`.

    A step draws every assignment in turn, then prototypes and subspaces together:

    .. math:: P(z_{ij} = s) \propto (\alpha + n_{is}) \frac{g_{sjx} + n_{sjx}}{\sum_v g_{sjv} + n_{sjv}}, \qquad
        P(p_s = i) \propto \prod_j \bigl(1 - q + q\, r_{sj}(x_{ij})\bigr)

    with counts that leave the entry out and r the gain in likelihood when a value is emphasised; the subspaces are
    independent given the prototypes. What ``observe`` sees is the `CaseState`, so ``model.log_joint`` is one.

    Raises:
        ValueError: no `CaseModel`.

    Reference:
        Kim, Rudin & Shah, NIPS 2014, arXiv:1503.01161.
    """
    if not isinstance(model, CaseModel):
        raise ValueError(f"model: expected a CaseModel, got {kind_of(model)}")
    return from_kernel(Partial(_init, model), Partial(_step, model), _measure)


def _init(model: CaseModel, key: Array, start: CaseState | None = None) -> CaseState:
    if start is not None:
        return start._replace(step=jnp.uint32(0))
    entry_key, prototype_key, subspace_key = jax.random.split(key, 3)
    (num_samples, num_features), num_clusters = model.observations.shape, model.num_clusters
    return CaseState(
        jax.random.randint(entry_key, (num_samples, num_features), 0, num_clusters),
        jax.random.bernoulli(subspace_key, 0.5, (num_clusters, num_features)),
        jax.random.randint(prototype_key, (num_clusters,), 0, num_samples),
        jnp.uint32(0),
    )


def _measure(fn: Any, state: CaseState) -> Any:
    return fn(state)


def _step(model: CaseModel, key: Array, state: CaseState) -> tuple[CaseState, CaseInfo]:
    entry_key, prototype_key, subspace_key = jax.random.split(key, 3)
    assignments, counts = _draw_assignments(model, entry_key, state)
    ratios = jnp.take_along_axis(model._evidence(counts)[:, None], model.observations[None, :, :, None], axis=3)[
        ..., 0
    ]  # [clusters, samples, features]
    odds = jnp.log(model.relevance) - jnp.log1p(-model.relevance)
    logits = jnp.sum(jnp.logaddexp(0.0, odds + ratios), axis=2)
    prototypes = jax.random.categorical(prototype_key, logits, axis=1).astype(jnp.int32)
    chosen = jnp.take_along_axis(ratios, prototypes[:, None, None], axis=1)[:, 0]
    subspaces = jax.random.bernoulli(subspace_key, jax.nn.sigmoid(odds + chosen))
    status = Status.NOT_FINITE.when(~jnp.all(jnp.isfinite(logits)))
    return CaseState(assignments, subspaces, prototypes, state.step), CaseInfo(status)


def _draw_assignments(model: CaseModel, key: Array, state: CaseState) -> tuple[Array, Array]:
    """Every entry in turn; also the counts ``[clusters, features, values]`` after it."""
    dtype = model.mixing.dtype
    num_samples, num_features = model.observations.shape
    is_emphasised = jax.nn.one_hot(model.observations[state.prototypes], model.num_values, dtype=dtype)
    raised = model.emphasis * state.subspaces.astype(dtype)[..., None] * is_emphasised
    prior = model.smoothing * (1 + raised)  # g
    uniform = jax.random.uniform(key, (num_samples, num_features), dtype)

    def entry(feature: Array, carry: tuple) -> tuple:
        sample, row, own, counts = carry  # assignments of the sample; its entries by cluster; prior and counts together
        value, old = model.observations[sample, feature], row[feature]
        counts, own = counts.at[old, feature, value].add(-1.0), own.at[old].add(-1.0)
        weights = (model.mixing + own) * counts[:, feature, value] / jnp.sum(counts[:, feature], axis=1)
        heights = jnp.cumsum(weights)
        new = jnp.sum(heights < uniform[sample, feature] * heights[-1]).astype(row.dtype)
        counts, own = counts.at[new, feature, value].add(1.0), own.at[new].add(1.0)
        return sample, row.at[feature].set(new), own, counts

    def one_sample(counts: Array, sample: Array) -> tuple[Array, Array]:
        row = state.assignments[sample]
        own = jnp.zeros(model.num_clusters, dtype).at[row].add(1.0)
        _, row, _, counts = jax.lax.fori_loop(0, num_features, entry, (sample, row, own, counts))
        return counts, row

    counts, assignments = jax.lax.scan(one_sample, prior + model.counts(state), jnp.arange(num_samples))
    return assignments, counts - prior
