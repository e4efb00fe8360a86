"""Checkerboard Gibbs sampling of one square torus by thrml's blocks."""

from typing import Any

import jax
import jax.numpy as jnp


class ThrmlIsing:
    """``sweep(n)`` updates both sublattices ``n`` times."""

    def __init__(self, side: int, coupling: float) -> None:
        from thrml import Block, SpinNode
        from thrml.block_sampling import sample_blocks
        from thrml.models.ising import IsingEBM, IsingSamplingProgram, hinton_init

        nodes: Any = [[SpinNode() for _ in range(side)] for _ in range(side)]
        edges: Any = [
            (nodes[x][y], nodes[(x + right) % side][(y + up) % side])
            for x in range(side)
            for y in range(side)
            for right, up in ((1, 0), (0, 1))
        ]
        every: Any = [node for row in nodes for node in row]
        no_batch: Any = ()
        model: Any = IsingEBM(
            every, edges, jnp.zeros(len(every)), jnp.ones(len(edges)), jnp.asarray(coupling, jnp.float32)
        )
        blocks: Any = [
            Block([nodes[x][y] for x in range(side) for y in range(side) if (x + y) % 2 == colour]) for colour in (0, 1)
        ]
        program: Any = IsingSamplingProgram(model, blocks, [])
        self.state = hinton_init(jax.random.key(0), model, blocks, no_batch)
        samplers = [sampler.init() for sampler in program.samplers]

        @jax.jit
        def sweep(state: Any, keys: jax.Array) -> Any:
            def step(state: Any, key: jax.Array) -> tuple[Any, None]:
                return sample_blocks(key, list(state), [], program, list(samplers))[0], None

            return jax.lax.scan(step, state, keys)[0]

        self._sweep = sweep

    def sweep(self, number: int) -> None:
        self.state = jax.block_until_ready(self._sweep(self.state, jax.random.split(jax.random.key(1), number)))
