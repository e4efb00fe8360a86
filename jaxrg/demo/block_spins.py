"""Chapter 4: majority-rule block spins of the same samples, with the couplings measured before and after each step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import lattice, rg
from jaxrg.base import Progress

OPERATORS = ("nearest_neighbour", "next_nearest_neighbour", "third_neighbour", "plaquette")


def chapter(key, samples: np.ndarray, coupling: float, *, progress: Progress) -> dict[str, Any]:
    """Block ``samples`` ``[num_samples, L, L]`` by 2x2 as often as the side is even, and measure at every level.

    Returns:
        One entry in ``levels`` for every lattice: couplings with errors, the true ones where they are known, and the
        mean products per term.
    """
    levels = []
    current = jnp.asarray(samples)
    num_levels = _num_halvings(samples.shape[1]) + 1
    picture = [np.asarray(samples[0])]
    for level in range(num_levels):
        square = lattice.hypercubic(current.shape[1:])
        basis = lattice.standard_operators(square, OPERATORS)
        measured = rg.pseudo_likelihood_couplings(current, basis)
        means = jnp.mean(
            jax.vmap(lambda s, basis=basis: lattice.evaluate(basis, s))(current).astype(jnp.float32), axis=0
        )
        entry: dict[str, Any] = {
            "side": current.shape[1],
            "couplings": dict(zip(OPERATORS, np.asarray(measured.couplings), strict=True)),
            "errors": dict(zip(OPERATORS, np.asarray(measured.errors), strict=True)),
            "mean_products": dict(zip(OPERATORS, np.asarray(means) / basis.num_terms, strict=True)),
            "gradient_norm": float(measured.gradient_norm),
        }
        if level == 0:
            truth = dict.fromkeys(OPERATORS, 0.0) | {"nearest_neighbour": coupling}
            entry["exact"] = truth
            entry["z"] = {name: (entry["couplings"][name] - truth[name]) / entry["errors"][name] for name in OPERATORS}
        levels.append(entry)
        progress(level + 1, num_levels, f"side {entry['side']}")
        if level + 1 < num_levels:
            keys = jax.random.split(jax.random.fold_in(key, level), len(current))
            current = jax.vmap(rg.majority)(keys, current)
            picture.append(np.asarray(current[0]))
    return {"coupling": coupling, "num_samples": len(samples), "levels": levels, "picture": picture}


def _num_halvings(side: int) -> int:
    """How often a side can be halved before fewer than five sites are left for third neighbours."""
    count = 0
    while side % 2 == 0 and side // 2 >= 5:
        side, count = side // 2, count + 1
    return count
