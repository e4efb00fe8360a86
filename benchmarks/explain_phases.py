"""Phases of matter: a network beside the exact ceiling, and what the ceiling costs.

Samples and training are those of ``examples/phases.py``.
"""

import time
from typing import Any

import jax
import numpy as np

from benchmarks.explain_information import study
from benchmarks.timing import record
from jaxrg import exact, nets

Record = dict[str, Any]


def run(*, quick: bool) -> list[Record]:
    """All records of this part; the network of the quick run is of side 8 and hardly trained."""
    phases = study("_phases")
    size, num_train, num_test, num_epochs = (8, 32, 64, 1) if quick else (20, 256, 1024, 6)
    start = time.perf_counter()
    exact.torus_state_counts((size, size))
    counting = time.perf_counter() - start
    at = phases.temperatures()
    labels = (at > phases.TC).astype(np.int32)
    best = exact.optimal_classifier(phases.table(size, at), labels)
    start = time.perf_counter()
    spins = phases.sample(jax.random.key(0), size, num_train + num_test, at)
    sampling = time.perf_counter() - start
    seen, unseen = spins[:, :num_train].reshape(-1, size, size), spins[:, num_train:]
    start = time.perf_counter()
    targets = np.repeat(labels, num_train)
    trained = phases.train(jax.random.key(1), nets.cnn((8, 8), 2), phases.cross_entropy, seen, targets, num_epochs)[1]
    seconds = time.perf_counter() - start
    outputs = trained(unseen)
    is_right = np.argmax(outputs, axis=-1) == labels[:, None]
    is_best = np.argmax(np.asarray(best.posterior), axis=1)[phases.levels(unseen)] == labels[:, None]
    lead = is_best.astype(float) - is_right
    shares = 1 / (1 + np.exp(np.clip(outputs[..., 0] - outputs[..., 1], -80, 80)))
    (place, _), (error, _) = phases.crossing_with_error(shares, at)
    side = f"L = {size}"
    return [
        record(
            "ising_classifier_gap_points",
            100 * float(lead.mean()),
            f"points below the best classifier on the same samples, ± {100 * lead.std() / lead.size**0.5:.2f}, {side}",
            peer="the best classifier's exact accuracy; the ratio is of the network's",
            peer_value=float(best.accuracy),
            ratio=float(is_right.mean() / best.accuracy),
        ),
        record("ising_tc_error", float(place - phases.TC), f"J, ± {error:.4f}, crossing of a labelled network, {side}"),
        record("ising_classifier_seconds", seconds, f"s of training, compiling included, {side}"),
        record("ising_sampling_seconds", sampling, f"s for {lead.size + len(seen)} configurations, {side}"),
        record("torus_state_counts_seconds", counting, f"s, {side}"),
    ]
