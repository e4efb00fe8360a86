"""What is static of a hierarchical sampler: its lattice, its levels and the sites of their passes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PyTree
from jaxrg.flows.patterns import Passes, level_passes, sites_of
from jaxrg.flows.spins import top
from jaxrg.flows.spins.conditionals import Conditional


@dataclasses.dataclass(frozen=True)
class Plan:
    """A square lattice whose sides are halved ``num_levels`` times; level 0 is the finest, the top the coarsest."""

    shape: tuple[int, int]
    num_levels: int
    spacing: int
    radius: float
    num_symmetries: int
    conditional: Conditional

    def level_shape(self, level: int) -> tuple[int, int]:
        """Sides of the sublattice of a level."""
        return self.shape[0] >> level, self.shape[1] >> level

    @property
    def orbits(self) -> top.Orbits:
        """Classes of the states of the top."""
        return top.orbits_of(self.level_shape(self.num_levels), self.num_symmetries)

    @property
    def has_exact_quarter(self) -> bool:
        """Whether half of the (odd, odd) sites of the finest lattice have all their neighbours drawn before."""
        return self.spacing > 2

    def is_split(self, level: int) -> bool:
        """Whether every pass is two: on the finest lattice, where correlations in a pass cost most, if it can be."""
        return level == 0 and self.has_exact_quarter and all(side % (2 * self.spacing) == 0 for side in self.shape)

    def passes(self, level: int) -> Passes:
        """The passes of a level that are learned."""
        per_class = (self.spacing // 2) ** 2
        finest = per_class // 2 if self.has_exact_quarter else per_class
        num_passes = (2 if self.is_split(level) else 1) * (finest if level == 0 else 3 * per_class)
        return level_passes(self.spacing, self.radius, self.num_symmetries, num_passes, self.is_split(level))

    def scanned(self, level: int) -> tuple[Passes, PyTree]:
        """The passes of a level and the tables of their conditionals as arrays to scan over."""
        passes = self.passes(level)
        return jax.tree.map(jnp.asarray, (passes, self.conditional.tables(passes)))

    def starts(self, level: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns ``[lanes]`` of the sites of a pass of a level from the first one on."""
        counts = [side // self.spacing for side in self.level_shape(level)]
        rows, columns = np.indices(counts, np.int32).reshape(2, -1)
        if self.is_split(level):
            rows, columns = rows[(rows + columns) % 2 == 0], columns[(rows + columns) % 2 == 0]
        return self.spacing * rows, self.spacing * columns

    def sites(self, passes: Passes, level: int) -> tuple[Array, Array]:
        """Of one pass: the sites drawn ``[lanes]``, and those known ``[num_known, lanes]``, beyond the end for none."""
        return sites_of(passes, *self.starts(level), self.level_shape(level))

    def init(self, key: Array) -> dict[str, Any]:
        """Parameters at the start."""
        keys = jax.random.split(key, self.num_levels)
        levels = [
            self.conditional.init(keys[level], self.conditional.tables(self.passes(level)))
            for level in range(self.num_levels)
        ]
        return {"top": jnp.asarray(self.orbits.aligned) * np.float32(0.2), "levels": levels}
