"""Flows: a training step as published, round trips, inpainting, couplings against their peers, and trained figures.

Trained figures take minutes to hours: examples write them, with date, settings and machine, to
``benchmarks/results/flows_*.json``, and they are read from there.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import flow_peers
from benchmarks.peers import neuralrg
from benchmarks.timing import record
from jaxrg import flows, lattice, models
from jaxrg.base import Bijector
from jaxrg.flows import bijectors

RESULTS = Path(__file__).parent / "results"
TEMPERATURE = 2.269185314213022
NUM_LAYERS, HIDDEN, BATCH, LEARNING_RATE = 10, 10, 512, 1e-3  # of the NeuralRG paper
TRAINED = (
    "ising16_minutes_to_published_kl",
    "ising16_kl_nats",
    "ising32_kl_nats",
    "spins16_kl_nats",
    "spins32_kl_nats",
    "spins64_kl_nats",
    "spins128_kl_nats",
    "spins64_ess",
    "phi4_12_ess",
    "phi4_20_ess",
    "phi4_32_ess",
    "phi4_64_ess",
    "msds1_bits",
    "msds1_blocks_bits",
    "msds1_realnvp_bits",
    "msds2_bits",
    "msds2_blocks_bits",
    "msds2_realnvp_bits",
)

Record = dict[str, Any]


def neuralrg_block(num_layers: int = NUM_LAYERS, hidden: int = HIDDEN) -> Bijector:
    """NeuralRG's block: so many couplings of two of four sites, each with a network for scales and one for shifts."""
    nets = bijectors.parallel_perceptrons(2, (hidden,) * 3, activation=bijectors.elu)
    coupling = bijectors.affine_coupling((2, 2), [[True, True], [False, False]], nets)
    turned = bijectors.permutation((2, 2), [[2, 0], [3, 1]])  # the other half next, then another pairing
    return bijectors.repeat(bijectors.chain([coupling, turned]), num_layers)


class _Training:
    """A compiled training step and its state."""

    def __init__(self, gradient_fn: Callable, params: Any) -> None:
        optimiser = optax.adam(LEARNING_RATE)

        def step(key: Any, params: Any, state: Any) -> tuple[Any, Any]:
            updates, state = optimiser.update(gradient_fn(key, params), state, params)
            return optax.apply_updates(params, updates), state

        self.key, self.params, self.state = jax.random.key(0), params, optimiser.init(params)
        start = time.perf_counter()
        self.step = jax.jit(step).lower(self.key, self.params, self.state).compile()
        self.compile_seconds = time.perf_counter() - start

    def seconds(self) -> tuple[float, float]:
        """Wall and processor seconds of one step."""
        wall, processor = time.perf_counter(), time.process_time()
        self.params, self.state = jax.block_until_ready(self.step(self.key, self.params, self.state))
        return time.perf_counter() - wall, time.process_time() - processor


def _our_training(side: int, batch: int) -> _Training:
    layer = neuralrg_block()
    flow = flows.rg_flow((side, side), disentangler=layer, decimator=layer, offsets=(0, 1))
    density: Any = flows.density(flow, flows.gaussian(flows.geometry(flow).latent_shapes))
    model = models.IsingDual(lattice.hypercubic((side, side)), 1 / TEMPERATURE)
    gradient_fn = flows.reverse_kl(density, model.action, batch)
    return _Training(lambda key, params: gradient_fn(key, params, None, None)[0], density.init(jax.random.key(1)))


def _peer_training(side: int, batch: int) -> _Training:
    params, masks = neuralrg.init(jax.random.key(1), side, NUM_LAYERS, HIDDEN)
    inverse = jnp.asarray(neuralrg.precision(side, TEMPERATURE))

    def gradient_fn(key: Any, params: Any) -> Any:
        return jax.grad(neuralrg.loss)(params, masks, inverse, jax.random.normal(key, (batch, side**2)))

    return _Training(gradient_fn, params)


def _step(side: int, batch: int, num_repeats: int) -> list[Record]:
    contestants = {"ours": _our_training(side, batch), "peer": _peer_training(side, batch)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(num_repeats + 1):  # interleaved, so that what else the machine does meets both
        for name, training in contestants.items():
            found[name].append(training.seconds())
    wall, processor = ({name: np.median(times[1:], axis=0)[kind] for name, times in found.items()} for kind in (0, 1))
    compiled = {name: training.compile_seconds for name, training in contestants.items()}
    pairs = [
        ("neuralrg_step_seconds", wall, "s"),
        ("neuralrg_step_processor_seconds", processor, "s of all cores"),
        ("neuralrg_compile_seconds", compiled, "s"),
    ]
    return [
        record(
            name,
            float(times["ours"]),
            unit,
            peer="straight JAX port",
            peer_value=float(times["peer"]),
            ratio=float(times["peer"] / times["ours"]),
        )
        for name, times, unit in pairs
    ]


def _image_flow(side: int, block: int, channels: int, hidden: int, num_layers: int) -> Bijector:
    """Blocks of couplings by checkerboards, as for images."""
    event = (block, block, channels)
    mask = np.indices(event[:2]).sum(axis=0) % 2 == 0
    mask = np.broadcast_to(mask[..., None], event)
    net = bijectors.perceptron((hidden, hidden))
    pair = bijectors.chain([bijectors.affine_coupling(event, part, net) for part in (mask, ~mask)])
    layer = bijectors.repeat(pair, num_layers)
    return flows.rg_flow(
        (side, side), block=block, channels=channels, disentangler=layer, decimator=layer, is_periodic=False
    )


def _round_trip() -> Record:
    flow = _image_flow(32, 4, 3, 32, 4)
    keys = jax.random.split(jax.random.key(0), 3)
    params = jax.tree.map(
        lambda leaf: leaf + 0.02 * jax.random.normal(keys[1], leaf.shape), jax.jit(flow.init)(keys[0])
    )
    fields = jax.random.normal(keys[2], (16, 32, 32, 3))
    latents, _ = flows.encode(flow, params, fields)
    again, _ = flows.decode(flow, params, latents)
    return record("roundtrip_f32", float(jnp.max(jnp.abs(again - fields))), "32x32x3, 4 levels")


def run(*, quick: bool) -> list[Record]:
    """All records of the area."""
    from benchmarks import flow_inpainting

    side, batch, repeats = (8, 64, 3) if quick else (16, BATCH, 15)
    return [
        *_step(side, batch, repeats),
        _round_trip(),
        *flow_inpainting.run(quick=quick),
        *flow_peers.run(quick=quick),
        *trained(),
    ]


def trained() -> list[Record]:
    """Figures of the examples' trainings, the best of each from all result files; those of no file are left out."""
    found: dict[str, Record] = {}
    for path in sorted(RESULTS.glob("flows_*.json")):
        content = json.loads(path.read_text())
        where = {"file": path.name} | {
            name: content[name] for name in ("settings", "date", "machine") if name in content
        }
        for given in content.get("records", []):
            name, value = given["name"], given["value"]
            known = found.get(name)
            is_better = known is None or (value > known["value"] if name.endswith("_ess") else value < known["value"])
            if name in TRAINED and is_better:
                found[name] = record(name, value, given["unit"]) | given | where
    return [found[name] for name in TRAINED if name in found]
