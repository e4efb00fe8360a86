"""Inpainting by the latents of the causal cone against optimising all latents, at equal peak signal to noise.

A flow learns smooth random fields; a square of each of some fresh ones is missing. Both sides take Adam steps, each at
the best of three rates, until the mean squared error of the square is that which the worse of the two ends with. The
conditional mean of the Gaussian fields, which is exact, says what could be had.
"""

import functools
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.timing import record
from jaxrg import flows
from jaxrg.flows import bijectors

PIXEL_NOISE = 0.1  # weighs the known sites against the prior where all latents move
RATES = (0.02, 0.05, 0.15)
MARGIN_DB = 0.1


def spectrum(side: int) -> np.ndarray:
    """``[side, side]`` variances of the Fourier modes of a smooth field, one a site on average."""
    momenta = 2 * np.pi * np.fft.fftfreq(side)
    power = 1 / (4 - 2 * np.cos(momenta)[:, None] - 2 * np.cos(momenta)[None] + 0.1) ** 2
    return power / power.mean()


def smooth_fields(key: Any, side: int, num_fields: int) -> jax.Array:
    """``[num_fields, side, side]``"""
    noise = jnp.fft.fft2(jax.random.normal(key, (num_fields, side, side)))
    return jnp.fft.ifft2(noise * jnp.sqrt(jnp.asarray(spectrum(side), jnp.float32))[None]).real


def conditional_mean(fields: np.ndarray, is_missing: np.ndarray) -> np.ndarray:
    """``[num_fields, missing]`` exact means of the missing values, given the others."""
    side = fields.shape[-1]
    row = np.fft.ifft2(spectrum(side)).real
    index = np.arange(side)
    apart = (index[:, None] - index[None]) % side
    covariance = row[apart[:, None, :, None], apart[None, :, None, :]].reshape(side**2, side**2)
    gone, known = np.flatnonzero(is_missing), np.flatnonzero(~is_missing)
    weights = np.linalg.solve(covariance[np.ix_(known, known)], covariance[np.ix_(known, gone)])
    return fields.reshape(len(fields), -1)[:, known] @ weights


def trained_flow(side: int, num_steps: int, batch: int) -> tuple[Any, Any, Any, float]:
    """A flow, its prior and parameters, by maximum likelihood, and the loss at the end."""
    net = bijectors.perceptron((16, 16), activation=bijectors.elu)
    coupling = bijectors.affine_coupling((2, 2), [[True, True], [False, False]], net)
    turn = bijectors.permutation((2, 2), [[2, 0], [3, 1]])
    layer = bijectors.repeat(bijectors.chain([coupling, turn]), 4)
    flow = flows.rg_flow((side, side), disentangler=layer, decimator=layer)
    prior = flows.gaussian(flows.geometry(flow).latent_shapes)
    density = flows.density(flow, prior)
    optimiser = optax.adam(optax.cosine_decay_schedule(5e-3, num_steps))

    @jax.jit
    def step(key: Any, params: Any, state: Any) -> tuple[Any, Any, Any]:
        fields = smooth_fields(key, side, batch)
        value, gradient = jax.value_and_grad(lambda params: -jnp.mean(density.log_prob(params, fields)))(params)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    params: Any = density.init(jax.random.key(0))
    state, value = optimiser.init(params), jnp.float32(0)
    for number in range(num_steps):
        params, state, value = step(jax.random.key(number), params, state)
    return flow, prior, params, float(value)


def _search(loss: Any, errors: Any, start: Any, rate: Any, num_steps: int) -> Any:
    """``[num_steps]`` squared errors along Adam's way."""
    optimiser = optax.scale_by_adam()

    def step(carry: Any, _: Any) -> tuple[Any, Any]:
        values, state = carry
        updates, state = optimiser.update(jax.grad(loss)(values), state)
        values = jax.tree.map(lambda value, update: value - rate * update, values, updates)
        return (values, state), errors(values)

    return jax.lax.scan(step, (start, optimiser.init(start)), None, length=num_steps)[1]


@functools.partial(jax.jit, static_argnames="num_steps")
def _by_cone(model: Any, truth: Any, rate: Any, num_steps: int) -> Any:
    errors = lambda values: jnp.mean((values - truth) ** 2)  # noqa: E731
    return _search(model.action, errors, model.start, rate, num_steps)


@functools.partial(jax.jit, static_argnames="num_steps")
def _by_all(flow: Any, params: Any, field: Any, is_missing: Any, truth: Any, rate: Any, num_steps: int) -> Any:
    gone = jnp.where(is_missing, field * 0, field)

    def loss(latents: Any) -> Any:
        made, _ = flow.forward(params, latents)
        apart = jnp.where(is_missing, 0, made - gone)
        prior = 0.5 * sum(jnp.sum(part**2) for part in latents.values())
        return prior + jnp.sum(apart**2) / (2 * PIXEL_NOISE**2)

    def errors(latents: Any) -> Any:
        made, _ = flow.forward(params, latents)
        return jnp.sum(jnp.where(is_missing, (made - truth) ** 2, 0)) / jnp.sum(is_missing)

    return _search(loss, errors, flow.inverse(params, gone)[0], rate, num_steps)


def _seconds_a_step(call: Any, num_steps: int) -> float:
    """Of the longer of two searches, less the shorter: what is done once cancels."""
    for steps in (num_steps // 2, num_steps):
        jax.block_until_ready(call(steps))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(call(num_steps // 2))
        half = time.perf_counter()
        jax.block_until_ready(call(num_steps))
        times.append((time.perf_counter() - half) - (half - start))
    return max(float(np.median(times)), 1e-9) / (num_steps - num_steps // 2)


def compare(side: int, patch: int, num_training: int, num_steps: int, num_fields: int) -> dict[str, float]:
    """Steps and seconds of both sides to the same error, and where they end."""
    flow, prior, params, loss = trained_flow(side, num_training, 64)
    truths = np.asarray(smooth_fields(jax.random.key(10**6), side, num_fields))
    is_missing = np.zeros((side, side), bool)
    is_missing[side // 3 : side // 3 + patch, side // 3 : side // 3 + patch] = True
    exact = np.mean((conditional_mean(truths, is_missing) - truths[:, is_missing]) ** 2)
    rates = [jnp.float32(rate) for rate in RATES]
    cone, all_latents, model = [], [], None
    for truth in truths:
        given = np.where(is_missing, 0, truth)
        model = flows.missing_sites(flow, prior, params, given, is_missing)
        wanted = jnp.asarray(truth[is_missing])
        cone.append([_by_cone(model, wanted, rate, num_steps) for rate in rates])
        all_latents.append([_by_all(flow, params.flow, given, is_missing, truth, rate, num_steps) for rate in rates])
    traces = {"cone": np.mean(cone, axis=0), "all": np.mean(all_latents, axis=0)}  # [rates, steps]
    ends = {name: trace[:, -num_steps // 10 :].mean(axis=1).min() for name, trace in traces.items()}
    target = max(ends.values()) * 10 ** (MARGIN_DB / 10)
    steps = {
        name: min(int(np.argmax(row <= target)) + 1 if (row <= target).any() else num_steps for row in trace)
        for name, trace in traces.items()
    }
    truth = truths[-1]
    given = np.where(is_missing, 0, truth)
    wanted = jnp.asarray(truth[is_missing])
    seconds = {
        "cone": _seconds_a_step(lambda steps: _by_cone(model, wanted, rates[1], steps), num_steps),
        "all": _seconds_a_step(
            lambda steps: _by_all(flow, params.flow, given, is_missing, truth, rates[1], steps), num_steps
        ),
    }
    begun = time.perf_counter()
    for _ in range(8):
        jax.block_until_ready(flows.missing_sites(flow, prior, params, given, is_missing).constant)
    once = (time.perf_counter() - begun) / 8
    size = {name: sum(part.sum() for part in flows.causal_cone(flow, is_missing).values()) for name in ("cone",)}
    decibels = lambda error: -10 * math.log10(error)  # noqa: E731  of fields of variance one
    return {
        "loss": loss,
        "latents_in_cone": float(size["cone"]),
        "steps_cone": steps["cone"],
        "steps_all": steps["all"],
        "seconds_once_cone": once,
        "seconds_a_step_cone": seconds["cone"],
        "seconds_a_step_all": seconds["all"],
        "psnr_cone": decibels(ends["cone"]),
        "psnr_all": decibels(ends["all"]),
        "psnr_exact_mean": decibels(exact),
    }


def run(*, quick: bool) -> list[dict[str, Any]]:
    """Seconds to the same error, what is done once a field included; above one means that the cone is faster."""
    found = compare(16, 3, 100, 60, 2) if quick else compare(32, 4, 1500, 400, 8)
    cone = found["seconds_once_cone"] + found["steps_cone"] * found["seconds_a_step_cone"]
    everything = found["steps_all"] * found["seconds_a_step_all"]
    return [
        record("inpaint_speedup", cone, "s", peer="all latents", peer_value=everything, ratio=everything / cone),
        record("inpaint_psnr", found["psnr_cone"], "dB", peer="all latents", peer_value=found["psnr_all"]),
        record("inpaint_psnr_of_exact_mean", found["psnr_exact_mean"], "dB"),
        record("inpaint_milliseconds_once", 1e3 * found["seconds_once_cone"], "ms"),
        record("inpaint_latents", found["latents_in_cone"], "latents"),
    ]
