"""Which layers are general: networks retrained on another's first layers, and what that costs them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import stdtrit  # a dependency of JAX

from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_floating, as_floating_alike, check_function, check_number, kind_of
from jaxrg.explain.transplants.layers import num_layers_of, transplant


class Treatment(NamedTuple):
    """What the first layers of a network are made of before it is trained on task B."""

    source: str  # whose first layers: "A", trained on another task, "B", on the same one, "random", on none
    is_frozen: bool  # whether they stay as they are


TREATMENTS: dict[str, Treatment] = {
    "BnB": Treatment("B", True),
    "BnB+": Treatment("B", False),
    "AnB": Treatment("A", True),
    "AnB+": Treatment("A", False),
    "random": Treatment("random", True),
}


def transfer_scores(
    train_fn: Callable[[PyTree, int], Any],
    start: PyTree,
    sources: Mapping[str, PyTree],
    layers: PyTree,
    *,
    treatments: Mapping[str, Treatment] = TREATMENTS,
    known: Mapping[tuple[str, int], float] | None = None,
    on_score: Callable[[str, int, float], Any] | None = None,
) -> dict[str, np.ndarray]:
    """Scores of networks trained on the first n layers of others, for every treatment and every n.

    Args:
        train_fn: ``score = train_fn(params, num_frozen)``: trains on task B from these parameters with so many first
            layers as they are, through `freeze_first`, and measures the result.
        start: fresh parameters, for the layers above the first n.
        sources: parameters by the name that the treatments have for them; ``start`` will do for ``"random"``.
        layers: of `layer_numbers`.
        treatments: by name; by default those of the reference.
        known: scores by (treatment, n) that are not computed again, as those of a call that was broken off.
        on_score: called with (treatment, n, score) for each one that was not known, to keep it.

    Returns:
        ``[num_layers - 1]`` scores of each treatment, at n = 1, ..., num_layers - 1.

    Raises:
        ValueError: no functions, a treatment whose source is not there, a network of one layer, parameters of other
            trees, or a score that is no number.

    Example:
        >>> layers, start, other = {"first": 0, "last": 1}, {"first": 0.0, "last": 0.0}, {"first": 1.0, "last": 1.0}
        >>> total = lambda params, num_frozen: params["first"] + params["last"] + num_frozen
        >>> found = transfer_scores(total, start, {"A": other, "B": start, "random": start}, layers)
        >>> {name: float(scores[0]) for name, scores in found.items()}
        {'BnB': 1.0, 'BnB+': 0.0, 'AnB': 2.0, 'AnB+': 1.0, 'random': 1.0}

    Reference:
        Yosinski, Clune, Bengio & Lipson, NIPS 2014, arXiv:1411.1792.
    """
    check_function("train_fn", train_fn, of="parameters and a number of frozen layers")
    if on_score is not None:
        check_function("on_score", on_score, of="(treatment, n, score)")
    total = num_layers_of(layers)
    if total < 2:
        raise ValueError(f"layers: expected two or more layers, got {total}")
    for name, treatment in treatments.items():
        if not isinstance(treatment, Treatment) or treatment.source not in sources:
            raise ValueError(
                f"treatments: expected a Treatment whose source is one of {', '.join(sources)}, got {treatment!r} "
                f"for {name}"
            )
    scores = dict(known or {})
    for name, treatment in treatments.items():
        for number in range(1, total):
            if (name, number) not in scores:
                params = transplant(sources[treatment.source], start, layers, number)
                scores[name, number] = _as_score(train_fn(params, number if treatment.is_frozen else 0))
                if on_score is not None:
                    on_score(name, number, scores[name, number])
    return {name: np.array([scores[name, number] for number in range(1, total)]) for name in treatments}


def _as_score(value: Any) -> float:
    if as_floating("train_fn", value).ndim:
        raise ValueError(f"train_fn: expected one number, got {kind_of(value)}")
    return float(value)


class PairedDifference(NamedTuple):
    """Mean over seeds of a difference within each, with its interval; every field ``[...]``."""

    mean: Array
    error: Array  # standard error of the mean
    low: Array  # the ends of the interval
    high: Array


def paired_difference(
    values: Any, base: Any, *, confidence: float = 0.95, num_comparisons: int = 1
) -> PairedDifference:
    r"""What a treatment changes, from runs of the same seeds with and without it.

    .. math:: \bar d \pm t_{S-1}\Bigl(\tfrac{1 + c'}{2}\Bigr) \frac{s_d}{\sqrt S}, \qquad d_s = x_s - b_s, \quad
        c' = 1 - \frac{1 - c}{m}

    with Student's quantile and :math:`s_d^2 = \sum_s (d_s - \bar d)^2 / (S - 1)`; what seeds have in common, as a
    division of the data that is harder than others, drops out. Of m intervals made with ``num_comparisons=m`` all hold
    their values with probability c at least (Bonferroni): a dip that was looked for at m depths wants them.

    Args:
        values: ``[seeds, ...]`` of two or more seeds.
        base: ``[seeds]``, or of the shape of the values.
        confidence: c, between 0 and 1.
        num_comparisons: m.

    Raises:
        ValueError: fewer than two seeds, shapes that do not go together, or a confidence outside (0, 1).

    Example:
        >>> found = paired_difference([0.5, 0.75, 1.0], [0.25, 0.25, 0.25])
        >>> [round(float(value), 3) for value in found]  # 0.144 times t_2(0.975), 4.303
        [0.5, 0.144, -0.121, 1.121]
    """
    found, reference = as_floating_alike(values=values, base=base)
    if found.ndim < 1 or found.shape[0] < 2:
        raise ValueError(f"values: expected two or more seeds along the first axis, got {kind_of(found)}")
    if reference.shape not in (found.shape[:1], found.shape):
        raise ValueError(f"base: expected shape {found.shape[:1]} or {found.shape}, got {reference.shape}")
    check_number("confidence", confidence, above=0, below=1)
    outside = (1 - float(confidence)) / as_count("num_comparisons", num_comparisons)
    return _paired_difference(found, reference, np.float64(stdtrit(found.shape[0] - 1, 1 - outside / 2)))


@jax.jit
def _paired_difference(values: Array, base: Array, quantile: Array) -> PairedDifference:
    differences = values - base.reshape(base.shape + (1,) * (values.ndim - base.ndim))
    mean = jnp.mean(differences, axis=0)
    error = jnp.std(differences, axis=0, ddof=1) / values.shape[0] ** 0.5
    reach = quantile.astype(error.dtype) * error
    return PairedDifference(mean, error, mean - reach, mean + reach)
