"""What only the study of two phases asks: peaks of spectra, pairs of turns, a control of its theory, a proposition."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from _study import Claim

from jaxrg.explain.two_phase import noisy_interactions
from jaxrg.stats import bootstrap


def peak_order(total: np.ndarray) -> float:
    """The order of the largest strength, as a real number: the vertex of the parabola through it and its neighbours.

    The parabola is one of logarithms, of which a Gaussian spindle is one exactly. At either end, or with a neighbour
    that vanishes, the order is returned as it is; order 0 is left out.
    """
    strengths = np.asarray(total, float)
    top = 1 + int(strengths[1:].argmax())
    if not 1 < top < len(strengths) - 1 or not strengths[top - 1 : top + 2].all():
        return float(top)
    below, here, above = np.log(strengths[top - 1 : top + 2])
    curvature = below - 2 * here + above
    return top + (below - above) / (2 * curvature) if curvature < 0 else float(top)


def damped_fit(final: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The control of the theory: the final spectrum times exp(-a k), with the a that fits best; R² by checkpoint."""
    orders = np.arange(1, len(final))
    curves = np.exp(-np.linspace(-1, 4, 2001)[:, None] * orders) * final[1:]
    curves /= curves.mean(1, keepdims=True)
    misfit = ((curves[None] - measured[:, None, 1:]) ** 2).sum(-1).min(1)
    return 1 - misfit / measured[:, 1:].var(1) / len(orders)


def correlations(turned: Sequence[dict[str, np.ndarray]], rule: str) -> list[Claim]:
    """Do the turns come together? Over all runs, and over seeds within a study, with turns of other runs as control."""
    logs = [np.log(np.stack([turn[key] for turn in turned])) for key in ("order", "gap")]
    claims = []
    for label, centred in (("all runs", False), ("within studies", True)):
        order, gap = (jnp.asarray((values - values.mean(1, keepdims=True) * centred).ravel()) for values in logs)
        pairs = jnp.stack([order, gap], axis=1)
        estimate = bootstrap(jax.random.key(4), lambda pairs: jnp.corrcoef(pairs.T)[0, 1], pairs, num_resamples=1000)
        keys = jax.random.split(jax.random.key(5), 1000)
        null = jnp.corrcoef(order, jax.vmap(jax.random.permutation, (0, None))(keys, gap))[0, 1:]
        found = f"r = {estimate.value:.2f} [{estimate.lower:.2f}, {estimate.upper:.2f}]"
        text = f"turns of order and gap, {rule}, {label}"
        claims.append(Claim(text, "coincide (r = 1)", found, f"pairs shuffled: 0 ± {null.std():.2f}"))
    return claims


def response_row_norms(num_players: int, noise_variance: jax.Array) -> jax.Array:
    r"""Euclidean norm ``[n + 1]`` of the rows of the matrix of `noisy_interactions`, by order.

    All rows of one order have the same norm: how strongly interactions of that order respond to everything the network
    is to learn. Row T is the transpose of a unit vector.
    """
    table = jax.ShapeDtypeStruct((2**num_players,), noise_variance.dtype)
    transpose = jax.linear_transpose(lambda truth: noisy_interactions(truth, noise_variance), table)

    def norm(order: jax.Array) -> jax.Array:
        unit = jax.nn.one_hot((1 << order) - 1, 2**num_players, dtype=noise_variance.dtype)
        return jnp.linalg.norm(transpose(unit)[0])

    return jax.lax.map(norm, jnp.arange(num_players + 1, dtype=jnp.int32))


def proposition(player_counts: Sequence[int]) -> Claim:
    """By how much a row norm exceeds that of the order below it, over a grid of noises; published to be impossible."""
    excess = {}
    with jax.enable_x64(True):
        for n in player_counts:
            norms = jax.vmap(lambda noise, n=n: response_row_norms(n, noise))(jnp.logspace(-10, 2, 49))
            excess[n] = float(jnp.max(norms[:, 1:] / norms[:, :-1])) - 1
    found = ", ".join(f"{n}: {value:+.0e}" for n, value in excess.items())
    return Claim("row norms over the order's below - 1, largest, by n", "< 0 for all n", found, "noise 1e-10 to 100")
