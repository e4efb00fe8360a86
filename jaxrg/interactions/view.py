r"""A light labelled view of the interactions of one input: tables, spectra, salient ones, JSON, other packages."""

import functools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.base import PyTree
from jaxrg.checks import as_array, as_floating, as_table, check_count, is_traced
from jaxrg.interactions.and_or import AndOr
from jaxrg.interactions.indices.contexts import subsets_of_size
from jaxrg.interactions.indices.generalized import WEIGHTS
from jaxrg.interactions.indices.matrices import pairs_of_matrix
from jaxrg.interactions.indices.shares import SHARES
from jaxrg.interactions.orders import OrderStrengths
from jaxrg.tables import MAX_BYTES, all_bits, check_table

SALIENT_FRACTION = 0.05  # of the largest interaction: the threshold of Ren et al. and Zhang et al.
_FORMAT = "jaxrg interactions"
_KIND = np.dtype("<U3")
# Ours that shapiq knows, and what it calls them.
_SHAPIQ_NAMES = {"Harsanyi AND": "Moebius"} | {name: name for name in (*SHARES, *WEIGHTS, "SV", "BV")}
del _SHAPIQ_NAMES["Fourier"]


class InteractionView(NamedTuple):
    """Interactions of one input, with names; build it with `label`, `label_table` or `merge_and_or`."""

    subsets: np.ndarray  # bool[num, n], the players of each interaction
    values: np.ndarray  # [num]
    kinds: np.ndarray  # str[num]: "AND" (there if all its players are) or "OR" (if any is) of a view of both, else ""
    names: tuple[str, ...]  # of the n players
    index: str  # what the values are, such as "SII"

    @property
    def orders(self) -> np.ndarray:
        """Number of players of each interaction, ``int[num]``."""
        return self.subsets.sum(-1)

    @property
    def empty_value(self) -> float:
        """Value of the empty set, zero where the view has none."""
        return float(self.values[self.orders == 0].sum())

    def label_of(self, row: int) -> str:
        """The players of one interaction: ``{age, sex}``, or ``AND(...)`` and ``OR(...)`` where the view has both."""
        players = ", ".join(name for name, is_member in zip(self.names, self.subsets[row], strict=True) if is_member)
        return f"{self.kinds[row]}({players})" if self.kinds[row] else "{" + players + "}"

    def rows(self, chosen: np.ndarray) -> "InteractionView":
        """Only these rows, in this order."""
        return self._replace(subsets=self.subsets[chosen], values=self.values[chosen], kinds=self.kinds[chosen])

    def top(self, count: int) -> "InteractionView":
        """The strongest interactions, strongest first, without the empty set; fewer if there are fewer."""
        check_count("count", count)
        rows = np.flatnonzero(self.orders > 0)
        return self.rows(rows[np.argsort(-np.abs(self.values[rows]), kind="stable")[:count]])

    def salient(self, fraction: float = SALIENT_FRACTION) -> "InteractionView":
        """Only the interactions of at least this fraction of the strongest, strongest first, as `is_salient`."""
        ranked = self.top(len(self.values))
        strength = np.abs(ranked.values)
        return ranked.rows(np.flatnonzero((strength >= fraction * strength.max(initial=0)) & (strength > 0)))

    def table(self, count: int = 10) -> str:
        """The strongest interactions as text, one a line: order, value, share of the total strength, players.

        Example:
            >>> print(label_table(jnp.array([0.5, 1.0, -3.0, 0.0]), names=("age", "sex")).table(2))
            Harsanyi AND, 2 of 3 interactions, total strength 4, empty set 0.5
            order      value   share  players
                1         -3   75.0%  {sex}
                1          1   25.0%  {age}
        """
        top, is_some = self.top(count), self.orders > 0
        total = float(np.abs(self.values[is_some]).sum())
        lines = [
            f"{self.index}, {len(top.values)} of {int(is_some.sum())} interactions, total strength {total:.4g}, "
            f"empty set {self.empty_value:.4g}",
            "order      value   share  players",
        ]
        for row, (order, value) in enumerate(zip(top.orders, top.values, strict=True)):
            lines.append(f"{order:5d} {value:10.4g} {abs(value) / (total or 1):7.1%}  {top.label_of(row)}")
        return "\n".join(lines)

    def order_strengths(self) -> OrderStrengths:
        r"""Strength by order with its positive and negative parts, AND and OR together; fields ``[n + 1]``."""
        length = len(self.names) + 1
        positive = np.bincount(self.orders, np.maximum(self.values, 0), length)
        negative = np.bincount(self.orders, np.maximum(-self.values, 0), length)
        return OrderStrengths(*(jnp.asarray(part) for part in (positive + negative, positive, negative)))

    def attributions(self) -> np.ndarray:
        r"""Each interaction shared equally among its players, :math:`\sum_{S \ni i} I(S) / |S|`, ``[n]``.

        Of Harsanyi AND and OR interactions these are the Shapley values.
        """
        return (self.values / np.maximum(self.orders, 1)) @ self.subsets

    def to_json(self) -> str:
        """JSON text with every number exact; `from_json` gives the same view back."""
        return json.dumps(
            {
                "format": _FORMAT,
                "index": self.index,
                "names": self.names,
                "dtype": str(self.values.dtype),
                "subsets": [np.flatnonzero(row).tolist() for row in self.subsets],
                "kinds": self.kinds.tolist(),
                # Python writes the shortest decimal that reads back as the same double.
                "values": [float(value) for value in self.values],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "InteractionView":
        """The view that `to_json` wrote; other text is refused.

        Example:
            >>> view = label_table(jnp.array([0.5, 1.0, -3.0, 0.1]))
            >>> InteractionView.from_json(view.to_json()).values.tolist() == view.values.tolist()
            True
        """
        try:
            data = json.loads(text)
            if data["format"] != _FORMAT:
                raise ValueError(data["format"])
            subsets = np.zeros((len(data["subsets"]), len(data["names"])), np.bool_)
            for row, players in enumerate(data["subsets"]):
                if min(players, default=0) < 0:
                    raise IndexError(players)
                subsets[row, players] = True
            values = np.asarray(data["values"], np.dtype(data["dtype"]))
            view = label(values, subsets, index=data["index"], names=data["names"])
            return view._replace(kinds=np.asarray(data["kinds"], _KIND).reshape(values.shape))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(f"text: expected what to_json wrote (format {_FORMAT!r}), got {text[:60]!r}") from error

    def to_shapiq(self, *, baseline: float | None = None) -> Any:
        """The same as ``shapiq.InteractionValues``, for its plots and tools; ``baseline`` is v(∅) if not given.

        Raises:
            ImportError: shapiq is not installed.
            ValueError: OR interactions, or an index, that shapiq does not have.
        """
        num_or = int((self.kinds == "OR").sum())
        if num_or:
            raise ValueError(f"view: expected no OR interactions, which shapiq cannot express, got {num_or}")
        if self.index not in _SHAPIQ_NAMES:
            known = ", ".join(_SHAPIQ_NAMES)
            raise ValueError(f"view: expected an index that shapiq knows ({known}), got {self.index!r}")
        try:
            from shapiq import InteractionValues
        except ImportError as error:
            raise ImportError("to_shapiq: expected the package shapiq (pip install shapiq), got none") from error
        lookup = {tuple(np.flatnonzero(subset).tolist()): row for row, subset in enumerate(self.subsets)}
        return InteractionValues(
            values=self.values,
            index=_SHAPIQ_NAMES[self.index],
            min_order=int(self.orders.min()),
            max_order=int(self.orders.max()),
            n_players=len(self.names),
            interaction_lookup=lookup,
            estimated=False,
            baseline_value=self.empty_value if baseline is None else baseline,
        )


def _as_host(name: str, values: ArrayLike) -> np.ndarray:
    """Numbers as floats of NumPy, in the precision they come in."""
    floating = as_floating(name, values)
    host = np.asarray(floating if isinstance(values, Array) else values)
    return host if host.dtype in (np.float32, np.float64) else np.asarray(floating)


def label(values: ArrayLike, subsets: ArrayLike, *, index: str, names: Sequence[str] | None = None) -> InteractionView:
    """A view of finite values ``[num]`` of subsets ``bool[num, n]``, such as those of `indices.subsets_up_to`.

    Args:
        values: interactions.
        subsets: the players of each.
        index: what they are, such as ``"SII"``.
        names: of the players; their numbers by default.
    """
    members, numbers = np.asarray(as_array("subsets", subsets)), _as_host("values", values)
    if members.ndim != 2 or members.dtype != np.bool_:
        raise ValueError(f"subsets: expected bool[num, n], got {members.dtype}{list(members.shape)}")
    if numbers.shape != members.shape[:1]:
        raise ValueError(f"values: expected shape {members.shape[:1]}, one for each subset, got {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"values: expected finite numbers, got {int((~np.isfinite(numbers)).sum())} that are not")
    n = members.shape[1]
    labels = tuple(str(player) for player in range(n)) if names is None else tuple(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in labels) or len(set(labels)) < len(labels):
        raise ValueError(f"names: expected a different text for each player, got {names!r}")
    if len(labels) != n:
        raise ValueError(f"names: expected {n}, one for each player, got {len(labels)}")
    return InteractionView(members, numbers, np.zeros(len(members), _KIND), labels, index)


def label_matrix(values: ArrayLike, *, index: str, names: Sequence[str] | None = None) -> InteractionView:
    """A view of values ``[n]`` of single players or ``[n, n]`` of pairs, as sampling estimates are.

    Example:
        >>> label_matrix([[0.0, 2.0], [2.0, 0.0]], index="SII", names=("age", "sex")).label_of(0)
        '{age, sex}'
    """
    numbers = _as_host("values", values)
    if numbers.ndim == 1:
        return label(numbers, np.eye(len(numbers), dtype=np.bool_), index=index, names=names)
    pairs_of_matrix(numbers)  # refuses what is no such matrix
    if numbers.ndim != 2:
        raise ValueError(f"values: expected [n] of players or [n, n] of pairs, got shape {numbers.shape}")
    rows = numbers[np.triu_indices(len(numbers), 1)]
    return label(rows, subsets_of_size(len(numbers), 2), index=index, names=names)


def label_table(
    interactions: ArrayLike,
    *,
    index: str = "Harsanyi AND",
    names: Sequence[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> InteractionView:
    """A view of a whole table ``[2**n]`` of interactions in index order, such as `harsanyi` returns."""
    as_table("interactions", interactions)
    values = _as_host("interactions", interactions)
    if values.ndim != 1:
        raise ValueError(f"interactions: expected one table [2**n], got shape {values.shape}")
    n = len(values).bit_length() - 1
    check_table(n, itemsize=values.itemsize + n, max_bytes=max_bytes, name="interactions")
    return label(values, np.asarray(all_bits(n)), index=index, names=names)


def merge_and_or(result: AndOr, *, names: Sequence[str] | None = None, max_bytes: int = MAX_BYTES) -> InteractionView:
    """One view of the AND and OR interactions of one game, from `and_or.extract` or `and_or.solve`.

    First AND interactions of all orders, those of orders 0 and 1 merged with the OR ones, then OR interactions.
    """
    ands, ors = (
        label_table(table, index="Harsanyi AND-OR", names=names, max_bytes=max_bytes // 2)
        for table in (result.and_, result.or_)
    )
    # With one player AND and OR are the same function, so only their sum means something.
    is_shared = ands.orders < 2
    values = np.concatenate([ands.values + np.where(is_shared, ors.values, 0), ors.values[~is_shared]])
    subsets = np.concatenate([ands.subsets, ors.subsets[~is_shared]])
    kinds = np.where(np.arange(len(values)) < len(ands.values), "AND", "OR")
    return ands._replace(subsets=subsets, values=values, kinds=np.where(subsets.sum(-1) < 2, "", kinds).astype(_KIND))


def is_salient(interactions: PyTree, fraction: ArrayLike = SALIENT_FRACTION) -> PyTree:
    r"""Which interactions are salient, :math:`|I(S)| \ge \tau \max_{T \ne \emptyset} |I(T)|`.

    Args:
        interactions: a table ``[..., num]``, the empty set first, or several such as ``(result.and_, result.or_)``,
            whose threshold is then that of the largest interaction of them all.
        fraction: τ, traced or not.

    Returns:
        ``bool[..., num]`` for each table, false for the empty set and where all interactions vanish.

    Example:
        >>> is_salient(jnp.array([9.0, 1.0, -0.06, 0.04])).tolist()
        [False, True, True, False]

    Reference:
        Li & Zhang, ICML 2023, arXiv:2302.13080; Ren, Gao, Shen & Zhang, ICLR 2024, arXiv:2305.01939.
    """
    is_one = isinstance(interactions, list) and not any(getattr(row, "ndim", 0) for row in interactions)
    tables = jax.tree.map(lambda table: as_floating("interactions", table), interactions, is_leaf=lambda _: is_one)
    if not jax.tree.leaves(tables):
        raise ValueError(f"interactions: expected a table or several, got {interactions!r}")
    for table in jax.tree.leaves(tables):
        if table.ndim == 0 or table.shape[-1] == 0:
            raise ValueError(f"interactions: expected [..., num], the empty set first, got shape {table.shape}")
        if not is_traced(table) and np.isnan(np.asarray(table)).any():
            raise ValueError("interactions: expected numbers, got NaN, which is neither salient nor not")
    return _is_salient(tables, as_floating("fraction", fraction))


@jax.jit
def _is_salient(interactions: PyTree, fraction: Array) -> PyTree:
    strengths = jax.tree.map(lambda table: jnp.abs(table).at[..., 0].set(0), interactions)
    peaks = [jnp.max(table, axis=-1, keepdims=True) for table in jax.tree.leaves(strengths)]
    threshold = functools.reduce(jnp.maximum, peaks)
    threshold = fraction.astype(threshold.dtype) * threshold
    return jax.tree.map(lambda strength: (strength >= threshold) & (strength > 0), strengths)
