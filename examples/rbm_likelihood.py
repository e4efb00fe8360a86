# %% [markdown]
# # Likelihoods of Boltzmann machines that one can believe
# A machine is trained on the Ising model at its critical point by contrastive divergence, by persistent chains and by
# tempered ones. Its partition function is bracketed by annealing in both directions, and estimated by tempering with
# Bennett's acceptance ratio; machines with few hidden units have it exactly, so stated intervals can be counted.
# Beside them stand the estimators that look from one end alone. Chains of the trained machines say how often they go
# from one sign of the magnetisation to the other: what likelihood a gradient sees is no better than its chains.

# %%
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _rbm_likelihood import COLOURS, Estimates, Trained, Watched, draw, share, spread
from _study import HEADER, Claim, print_claims, run_main, save, show
from jax import Array

from jaxrg import exact, lattice, models, rbm, samplers, stats, training
from jaxrg.rbm import likelihood, tempering

STATED = 0.95
STRENGTHS = (1.5, 2.5, 3.5)  # of random weights, over what phases appear at


class Scale(NamedTuple):
    """Sizes of the study."""

    side: int
    num_hidden: int
    num_large: int  # hidden units of the machine that cannot be enumerated
    num_samples: int
    num_epochs: int
    num_machines: int  # random ones, whose intervals are counted
    num_steps: int  # Gibbs steps of all machines of a ladder
    num_particles: int
    num_temperatures: int  # of the ladders of training
    are_chosen: bool  # ladders of the rest, by their swaps; else they have as many temperatures, equally spaced


FULL = Scale(8, 16, 64, 4000, 60, 40, 24_000, 1000, 6, True)
SMOKE = Scale(4, 6, 6, 200, 4, 1, 4000, 80, 4, False)


# %%
def ising_data(scale: Scale, coupling: float, key: Array) -> Array:
    """``[num_samples, side**2]`` of Wolff's algorithm."""
    model = models.Ising(lattice.hypercubic((scale.side, scale.side)), jnp.float32(coupling))
    sampler = samplers.thin(samplers.wolff(model), 5)
    warm = samplers.warm_up(key, sampler, sampler.init(key), scale.num_samples)
    trace = samplers.run(key, sampler, warm, scale.num_samples, observe=lambda spins: spins).trace
    return trace.reshape(scale.num_samples, -1)


def magnetization(visible: Array) -> Array:
    return jnp.mean(visible.astype(jnp.float32))


def tunnelling(key: Array, sampler: Any, num_steps: int) -> tuple[float, float]:
    """Changes of sign a step of one chain, and the error of that."""
    start = samplers.warm_up(key, sampler, sampler.init(key), 200)
    signs = jnp.sign(samplers.run(key, sampler, start, num_steps, observe=magnetization).trace)
    rate = float(tempering.tunnelling_rate(signs))
    return rate, float(np.sqrt(max(rate, 1 / num_steps) / num_steps))


# %%
@functools.cache
def falling_rate(scale: Scale) -> optax.GradientTransformation:
    """At the critical point curvatures are large: from 0.02 to nothing."""
    return optax.sgd(optax.cosine_decay_schedule(0.02, scale.num_epochs * (scale.num_samples // 50)))


def train(scale: Scale, data: Array, validation: Array, name: str) -> Trained:
    """By one kind of gradient; the exact loss is the validation of `training.fit`."""
    machine = rbm.init(jax.random.key(1), data.shape[1], scale.num_hidden)
    reference = tempering.independent_units(machine)
    betas = jnp.linspace(0, 1, scale.num_temperatures)

    def ladder(machine: rbm.RBM) -> rbm.RBM:
        return tempering.tempered(machine, reference, betas)

    gradient_fn, aux = {
        "CD-1": lambda: (rbm.contrastive_divergence_gradient(), None),
        "PCD": lambda: (
            rbm.persistent_contrastive_divergence_gradient(),
            rbm.persistent_chains(jax.random.key(2), machine, 100),
        ),
        "tempered": lambda: (
            tempering.tempered_gradient(ladder),
            tempering.tempered_chains(jax.random.key(2), ladder(machine), 100),
        ),
    }[name]()
    path, rates = [], []

    def look(run: training.Fit) -> None:
        path.append(run.params)
        key = jax.random.fold_in(jax.random.key(3), run.epoch)
        chain = tempering.tempered_gibbs_sampler(ladder(run.params)) if name == "tempered" else None
        rates.append(tunnelling(key, chain or rbm.gibbs_sampler(run.params), 2000)[0])

    run = training.fit(
        jax.random.key(4),
        gradient_fn,
        falling_rate(scale),
        machine,
        data,
        aux=aux,
        num_epochs=scale.num_epochs,
        batch_size=50,
        validation_fn=lambda machine, aux: rbm.negative_log_likelihood(machine, validation),
        on_epoch=look,
    )
    return Trained(run.params, np.asarray(run.validation), np.asarray(rates), path)


# %%
def random_machine(seed: int, scale: Scale) -> rbm.RBM:
    """Strong normal weights: a bipartite spin glass with many phases."""
    num_visible, generator = scale.side**2, np.random.default_rng(seed)
    strength = STRENGTHS[seed % len(STRENGTHS)] / (num_visible * scale.num_hidden) ** 0.25
    weights = strength * generator.normal(size=(num_visible, scale.num_hidden))
    biases = (0.3 * generator.normal(size=size) for size in (num_visible, scale.num_hidden))
    return rbm.RBM(*(jnp.asarray(array, jnp.float32) for array in (weights, *biases)))


def exact_log_partition(machine: rbm.RBM) -> float:
    """In float64, the smaller layer enumerated."""
    with jax.enable_x64(True):
        return float(rbm.log_partition(jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), machine)))


def ladder_of(machine: rbm.RBM, scale: Scale, acceptance: float, key: Array) -> rbm.RBM:
    """In temperature, from independent units."""
    reference, count = tempering.independent_units(machine), 96 if scale.are_chosen else scale.num_temperatures
    many = tempering.tempered(machine, reference, jnp.linspace(0, 1, count))
    return tempering.choose_machines(key, many, target_acceptance=acceptance).machines if scale.are_chosen else many


def products(means: Array) -> Array:
    return jnp.sum(jnp.log(means))


def one_sided(found: likelihood.TemperedLogPartition) -> stats.GammaEstimate:
    known = found.log_partition.value + found.free_energies.total.value
    offsets = jnp.max(-found.work, axis=(0, 1))
    averages = stats.gamma_method(products, jnp.exp(-found.work - offsets[None, None]))
    return averages._replace(value=known + averages.value + jnp.sum(offsets))


def estimate(machine: rbm.RBM, scale: Scale, key: Array, acceptance: float) -> Estimates:
    """Tempering on one ladder, annealing both ways, and what one end alone says, of the same chains and particles."""
    keys, truth = jax.random.split(key, 3), exact_log_partition(machine)
    ladder = ladder_of(machine, scale, acceptance, keys[0])
    num_steps = scale.num_steps // ladder.weights.shape[0] // 8
    found = likelihood.tempered_log_partition(keys[1], ladder, num_steps=num_steps)
    count = scale.num_particles // 8
    samples = found.visible[:, :: num_steps // count][:, :count]
    both = likelihood.bracket(keys[2], machine, samples=samples, num_particles=scale.num_particles)
    ways = {
        "tempered": found.log_partition,
        "annealed": both.log_partition,
        "mean_log": both.lower,
        "one_sided": one_sided(found),
    }
    covers = {}
    for name, value in ways.items():
        low, high = likelihood.interval(value, STATED)
        covers[name] = bool(low <= truth <= high)
    ends = likelihood.interval(both.lower)[0], likelihood.interval(both.upper)[1]
    covers["bracket"] = bool(ends[0] <= truth <= ends[1])
    pairs = {name: (float(value.value) - truth, float(value.error)) for name, value in ways.items()}
    return Estimates(**pairs, ends=(float(ends[0]) - truth, float(ends[1]) - truth), covers=covers)


# %%
def watch_large(scale: Scale, data: Array, validation: Array) -> Watched:
    """Brackets of the validation likelihood from `on_epoch`."""
    seen = Watched([], [], [], [], [])
    reference = tempering.independent_units(rbm.init(jax.random.key(0), data.shape[1], scale.num_large), data)

    def look(run: training.Fit) -> None:
        if run.epoch % max(1, scale.num_epochs // 6) and run.epoch != scale.num_epochs:
            return
        key = jax.random.fold_in(jax.random.key(5), run.epoch)
        samples = jax.vmap(lambda key, hidden: rbm.sample_visible(key, run.params, hidden))(
            jax.random.split(key, run.aux.shape[0]), run.aux
        ).reshape(8, -1, data.shape[1])
        found = likelihood.bracket(
            key,
            run.params,
            samples=samples,
            reference=reference,
            num_particles=scale.num_particles,
            effective_fraction=0.999,
        )
        value = likelihood.log_likelihood(run.params, validation, found.log_partition)
        # A lower bound of ln Z is an upper one of the likelihood.
        ends = [
            float(likelihood.log_likelihood(run.params, validation, end).value) for end in (found.upper, found.lower)
        ]
        for name, number in zip(seen._fields, (run.epoch, *ends, value.value, value.error), strict=True):
            getattr(seen, name).append(float(number))

    machine = rbm.init(jax.random.key(6), data.shape[1], scale.num_large)
    chains = rbm.persistent_chains(jax.random.key(7), machine, scale.num_particles)
    training.fit(
        jax.random.key(8),
        rbm.persistent_contrastive_divergence_gradient(),
        falling_rate(scale),
        machine,
        data,
        aux=chains,
        num_epochs=scale.num_epochs,
        batch_size=50,
        on_epoch=look,
    )
    return seen


# %%
def exact_entropy(scale: Scale, coupling: float) -> float:
    """Of the Ising model on the torus, ln Z - K d ln Z/dK: no model has less loss on average."""
    sides = (scale.side, scale.side)
    log_partition, slope = jax.value_and_grad(exact.torus_log_partition)(jnp.float32(coupling), sides)
    return float(log_partition - coupling * slope)


def trajectory(run: Trained, scale: Scale, key: Array) -> rbm.RBM:
    """The fewest machines of a training that still swap; temperatures lead to the first, an epoch after the start."""
    reference = tempering.independent_units(run.machines[0])
    if not scale.are_chosen:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), reference, *run.machines[1 : scale.num_temperatures])
    first = tempering.tempered(run.machines[0], reference, jnp.linspace(0, 1, 48))
    later = jax.tree.map(lambda *leaves: jnp.stack(leaves), *run.machines[1:])
    together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), first, later)
    return tempering.choose_machines(key, together).machines


def half_bias(machine: rbm.RBM, data: Array) -> tuple[float, float]:
    """What a field that empties one phase does to the exact log-likelihood and to the pseudolikelihood, per sample."""
    biased = machine._replace(visible_bias=machine.visible_bias + 0.05)
    changes = (
        fn(biased, data) - fn(machine, data) for fn in (rbm.log_likelihood, rbm.likelihood.pseudo_log_likelihood)
    )
    first, second = (float(change) for change in changes)
    return first, second


def likelihood_claims(few: list[Estimates], many: list[Estimates]) -> list[Claim]:
    """Of the random machines: on ladders of few rungs, and of more."""
    widths = np.array([row.ends for row in many])
    holds = share(many, "bracket")
    ratios = [spread(rows, "one_sided") / spread(rows, "tempered") for rows in (few, many)]
    return [
        Claim(
            "tempering + BAR: coverage of 95 %",
            "0.95",
            share(many, "tempered"),
            f"one-sided {share(many, 'one_sided')}",
        ),
        Claim(
            "AIS + reverse AIS: coverage of 95 %",
            "0.95",
            share(many, "annealed"),
            f"mean ln w {share(many, 'mean_log')}",
        ),
        Claim("exact ln Z inside the bracket", "always", holds, f"width {np.diff(widths).mean():.2f} nats"),
        Claim("one-sided error / BAR's, few rungs", "> 1", f"{ratios[0]:.2f}", f"more rungs {ratios[1]:.2f}"),
    ]


def training_claims(scale: Scale, trained: dict[str, Trained], data: Array, entropy: float) -> list[Claim]:
    """Of the machines trained on the Ising model."""
    claims = []
    for name, run in trained.items():
        gibbs = tunnelling(jax.random.key(11), rbm.gibbs_sampler(run.machine), scale.num_steps)
        betas = jnp.linspace(0, 1, scale.num_temperatures)
        ladder = tempering.tempered(run.machine, tempering.independent_units(run.machine), betas)
        better = tunnelling(jax.random.key(12), tempering.tempered_gibbs_sampler(ladder), scale.num_steps)
        claims += [
            Claim(
                f"{name}: loss above the entropy, nats",
                "0",
                f"{run.losses[-1] - entropy:.3f}",
                f"{run.losses[0] - entropy:.3f} after an epoch",
            ),
            Claim(f"{name}: tunnelling a step, tempered", "> Gibbs", show(*better, 4), f"Gibbs {show(*gibbs, 4)}"),
        ]
    machine = trained["tempered"].machine
    ladder = trajectory(trained["tempered"], scale, jax.random.key(13))
    num_machines = ladder.weights.shape[0]
    found = likelihood.tempered_log_partition(
        jax.random.key(14), ladder, num_steps=scale.num_steps // num_machines // 8
    )
    truth = exact_log_partition(machine)
    deviation = show(float(found.log_partition.value) - truth, found.log_partition.error, 3, "+")
    claims.append(
        Claim(
            f"ln Z along the training, {num_machines} machines",
            "exact",
            f"exact {deviation}",
            f"least swaps {float(found.swap_acceptance.min()):.2f}",
        )
    )
    changes = half_bias(machine, data)
    claims.append(
        Claim(
            "a field of 0.05: change of ln P a sample",
            "likelihood",
            f"{changes[0]:+.3f}",
            f"pseudolikelihood {changes[1]:+.3f}",
        )
    )
    return claims


def main(smoke: bool = False, out: str = "out/rbm_likelihood") -> None:
    scale, coupling = SMOKE if smoke else FULL, exact.critical_coupling
    few, many = [], []
    for seed in range(scale.num_machines):
        machine, key = random_machine(seed, scale), jax.random.key(100 + seed)
        many.append(estimate(machine, scale, key, 0.3))
        few.append(many[-1] if smoke else estimate(machine, scale, key, 0.1))
    data, validation = (ising_data(scale, coupling, jax.random.key(seed)) for seed in (20, 21))
    names = ("tempered",) if smoke else tuple(COLOURS)
    trained = {name: train(scale, data, validation, name) for name in names}
    seen = watch_large(scale, data, validation)
    entropy = exact_entropy(scale, coupling)
    claims = likelihood_claims(few, many) + training_claims(scale, trained, validation, entropy)
    width = seen.upper[-1] - seen.lower[-1]
    last = show(seen.value[-1] + entropy, seen.error[-1], 3, "+")
    claims.append(
        Claim(f"{scale.num_large} hidden units: ln P + entropy", "<= 0", last, f"bracket of {width:.3f} nats")
    )
    print_claims([HEADER, *claims])
    save({"rbm_likelihood": draw(few, many, trained, seen, entropy)}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Brackets of the partition function, validation by likelihood, tunnelling while training.")
