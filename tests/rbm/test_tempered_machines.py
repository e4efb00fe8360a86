"""Tempering: the whole transition matrix of the joint tempered chain, drawn steps against it, ladders and gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import lattice, models, rbm, samplers, training
from jaxrg.base import Status
from jaxrg.rbm import tempering
from jaxrg.rbm.tempering.chains import swap_probability
from jaxrg.rbm.tempering.ladders import difference, independent_log_partition, neighbour_differences
from jaxrg.samplers.walkers import swap_places
from jaxrg.tables import all_spins

SIZES = {"2+2 units, 2 machines": (2, 2, 2), "3+1 units, 2 machines": (3, 1, 2), "2+1 units, 3 machines": (2, 1, 3)}


def machines_of(random_machine, num_visible: int, num_hidden: int, count: int, scale: float = 0.9) -> list[rbm.RBM]:
    return [random_machine(seed, num_visible, num_hidden, scale) for seed in range(count)]


def products(means: np.ndarray, states: np.ndarray) -> np.ndarray:
    return np.prod((1 + np.asarray(means)[:, None] * states[None]) / 2, axis=-1)


class JointChain:
    """All states (v_1, h_1, ..., v_R, h_R) of a small ladder, its law, and the parts of a step as matrices."""

    def __init__(self, machines: list[rbm.RBM], reference_energies):
        self.machines, self.count = machines, len(machines)
        num_visible, num_hidden = machines[0].weights.shape
        self.visible, self.hidden = (np.asarray(all_spins(n, jnp.float32)) for n in (num_visible, num_hidden))
        self.pairs = list(itertools.product(range(2**num_visible), range(2**num_hidden)))  # (v, h) of one machine
        self.states = list(itertools.product(range(len(self.pairs)), repeat=self.count))
        self.index = {state: number for number, state in enumerate(self.states)}
        laws = []
        for machine in machines:
            weights = np.exp(-reference_energies(machine)).ravel()
            laws.append(weights / weights.sum())
        self.energies = [reference_energies(machine).ravel() for machine in machines]
        self.law = np.array([np.prod([laws[r][s] for r, s in enumerate(state)]) for state in self.states])

    def layers(self, state: tuple[int, ...]) -> list[int]:
        return [self.pairs[place][0] for place in state]

    def of_each(self, draw_visible: bool) -> np.ndarray:
        """One layer of every machine is drawn given the other, the rest stays."""
        parts = []
        for machine in self.machines:
            if draw_visible:
                chance = products(jax.vmap(rbm.visible_mean, (None, 0))(machine, self.hidden), self.visible)
                part = [[chance[h, w] * (h == k) for w, k in self.pairs] for v, h in self.pairs]
            else:
                chance = products(jax.vmap(rbm.hidden_mean, (None, 0))(machine, self.visible), self.hidden)
                part = [[chance[v, k] * (v == w) for w, k in self.pairs] for v, h in self.pairs]
            parts.append(np.array(part))
        matrix = parts[0]
        for part in parts[1:]:
            matrix = np.kron(matrix, part)
        return matrix

    def swaps(self, parity: int, by: str = "marginal", moving: str = "visible") -> np.ndarray:
        """Even or odd pairs swap by the marginal of v or by the joint energy; v alone moves, or both layers."""
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *self.machines)
        table = jnp.asarray(self.visible[np.array([self.layers(state) for state in self.states])], jnp.int8)
        below, above = jax.jit(jax.vmap(neighbour_differences, (None, 0)))(stacked, table)
        chance = np.asarray(swap_probability(below, -above), float)
        matrix = np.zeros((len(self.states),) * 2)
        tried = [pair for pair in range(self.count - 1) if pair % 2 == parity]
        for number, state in enumerate(self.states):
            for choice in itertools.product([False, True], repeat=len(tried)):
                is_swapped = np.zeros(self.count - 1, bool)
                is_swapped[tried] = choice
                weight = 1.0
                for pair, taken in zip(tried, choice, strict=True):
                    p = chance[number, pair]
                    if by == "joint":
                        (low, high), (a, b) = self.energies[pair : pair + 2], state[pair : pair + 2]
                        p = min(1.0, np.exp(low[a] + high[b] - low[b] - high[a]))
                    weight *= p if taken else 1 - p
                places = np.asarray(swap_places(jnp.asarray(is_swapped)))
                if moving == "visible":
                    pairs = [self.pairs[place] for place in state]
                    moved = [(pairs[places[r]][0], pairs[r][1]) for r in range(self.count)]
                    after = tuple(self.pairs.index(pair) for pair in moved)
                else:
                    after = tuple(state[place] for place in places)
                matrix[number, self.index[after]] += weight
        return matrix

    def step(self, parity: int) -> np.ndarray:
        """What the kernel does: v from p(v | h), swaps of v by the marginals, h from p(h | v)."""
        return self.of_each(draw_visible=True) @ self.swaps(parity) @ self.of_each(draw_visible=False)

    def excess(self, matrix: np.ndarray) -> float:
        """Largest entry of πP - π, in units of the largest of π."""
        return float(np.abs(self.law @ matrix - self.law).max() / self.law.max())


@pytest.mark.parametrize("name", SIZES)
def test_the_joint_tempered_chain_leaves_the_product_invariant(name, random_machine, reference_energies):
    *sizes, count = SIZES[name]
    chain = JointChain(machines_of(random_machine, *sizes, count), reference_energies)
    assert len(chain.states) <= 512
    for parity in range(2):
        np.testing.assert_allclose(chain.step(parity).sum(1), 1, atol=1e-6)
        assert chain.excess(chain.step(parity)) < 1e-6


def test_swaps_alone_are_in_detailed_balance(random_machine, reference_energies):
    """Of the marginal law of v, in which a swap is a step of its own."""
    chain = JointChain(machines_of(random_machine, 2, 1, 3), reference_energies)
    for parity in range(2):
        matrix = chain.swaps(parity) @ chain.of_each(draw_visible=False)
        # P(v) T(v, v') does not depend on h: of the states it goes to, all h together.
        layers = [tuple(chain.layers(state)) for state in chain.states]
        names = {layer: number for number, layer in enumerate(sorted(set(layers)))}
        member = np.array([names[layer] for layer in layers])
        flow = np.zeros((len(names), len(names)))
        np.add.at(flow, (member[:, None], member[None, :]), chain.law[:, None] * matrix)
        np.testing.assert_allclose(flow, flow.T, atol=1e-7)


@pytest.mark.parametrize("name", SIZES)
def test_wrong_swaps_fail_the_same_test(name, random_machine, reference_energies):
    """A swap of (v, h) by the marginal leaves another law invariant, and so does one of v that keeps h."""
    *sizes, count = SIZES[name]
    chain = JointChain(machines_of(random_machine, *sizes, count), reference_energies)
    gibbs = chain.of_each(draw_visible=True) @ chain.of_each(draw_visible=False)
    right = chain.swaps(0, by="joint", moving="both")
    assert chain.excess(gibbs @ right) < 1e-6  # both layers by the joint energy is another right way
    wrong = {
        "both layers by the marginal": gibbs @ chain.swaps(0, by="marginal", moving="both"),
        "v by the marginal, h kept": gibbs @ chain.swaps(0),
    }
    for title, matrix in wrong.items():
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
        assert chain.excess(matrix) > 1e-2, title
    # Not only after the swap: the law that the wrong chain goes to is another one for the visible layers too.
    matrix = wrong["both layers by the marginal"]
    law = chain.law
    for _ in range(60):
        law = law @ np.linalg.matrix_power(matrix, 4)
    layers = np.array([chain.layers(state) for state in chain.states])
    up = layers[:, 0] & 1
    assert abs((law - chain.law) @ up) > 1e-3


def test_drawn_steps_follow_the_joint_matrix(random_machine, reference_energies, excess_chi_squared):
    machines = machines_of(random_machine, 2, 1, 3)
    chain = JointChain(machines, reference_energies)
    sampler = tempering.tempered_gibbs_sampler(machines)
    start = sampler.init(jax.random.key(0))
    num_draws = 20_000

    @jax.jit
    def draw(keys, state):
        return jax.vmap(lambda key: sampler.step(key, state)[0])(keys)

    for seed, parity in ((3, 0), (5, 1), (200, 1)):
        places = chain.states[seed]
        visible, hidden = (
            np.stack([table[chain.pairs[place][layer]] for place in places])
            for layer, table in enumerate((chain.visible, chain.hidden))
        )
        state = start._replace(
            visible=jnp.asarray(visible, jnp.int8), hidden=jnp.asarray(hidden, jnp.int8), step=jnp.uint32(parity)
        )
        after = draw(jax.random.split(jax.random.key(seed), num_draws), state)
        bits = (np.asarray(after.visible) > 0) @ np.array([1, 2]) * 2 + (np.asarray(after.hidden) > 0)[..., 0]
        counts = np.bincount(bits @ np.array([64, 8, 1]), minlength=512)
        assert excess_chi_squared(counts, num_draws * chain.step(parity)[seed]) < 5


@pytest.mark.usefixtures("x64")
def test_differences_are_those_of_the_hamiltonians(random_machine):
    machines = machines_of(random_machine, 5, 3, 3)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *machines)
    layers = all_spins(5)[jnp.array([3, 17, 30])]
    energy = [[rbm.visible_hamiltonian(machine, layer) for layer in layers] for machine in machines]
    below, above = neighbour_differences(stacked, layers)
    for pair in range(2):
        np.testing.assert_allclose(below[pair], energy[pair + 1][pair] - energy[pair][pair], rtol=1e-10)
        np.testing.assert_allclose(above[pair], energy[pair + 1][pair + 1] - energy[pair][pair + 1], rtol=1e-10)
    np.testing.assert_allclose(difference(machines[2], machines[0], layers[1]), energy[2][1] - energy[0][1], rtol=1e-10)


def test_differences_of_large_machines_keep_their_digits(random_machine):
    """Of 1600 x 400 units H is in steps of 6e-5 or 1.2e-4; a difference is good to its own size."""
    machine = random_machine(0, 1600, 400, 0.05)
    machine = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), machine)
    other = jax.tree.map(lambda leaf: leaf * jnp.float32(1.0005), machine)
    visible = jax.random.rademacher(jax.random.key(0), (1600,), jnp.int8)
    found = float(difference(other, machine, visible))
    with jax.enable_x64(True):
        exact = [
            rbm.visible_hamiltonian(jax.tree.map(lambda x: x.astype(jnp.float64), m), visible) for m in (other, machine)
        ]
        exact = float(exact[0] - exact[1])
    assert abs(float(rbm.visible_hamiltonian(machine, visible))) > 400
    assert abs(found - exact) < 3e-5
    assert 0.1 < abs(exact) < 5


def test_independent_units_have_a_known_partition_function(random_machine):
    machine = random_machine(0)
    reference = tempering.independent_units(machine)
    np.testing.assert_allclose(independent_log_partition(reference), rbm.log_partition(reference), rtol=1e-6)
    data = jnp.asarray(np.random.default_rng(0).choice([-1, 1], size=(30, 5), p=[0.1, 0.9]), jnp.int8)
    fitted = tempering.independent_units(machine, data)
    np.testing.assert_allclose(jnp.tanh(fitted.visible_bias), np.asarray(data).sum(0) / 32, atol=1e-5)
    assert not fitted.weights.any()


def test_ladders_end_where_they_should(random_machine):
    machine, reference = random_machine(0), tempering.independent_units(random_machine(1))
    ladder = tempering.tempered(machine, reference, [0.0, 0.25, 1.0])
    for index, share in enumerate((0.0, 0.25, 1.0)):
        for found, first, last in zip(*map(jax.tree.leaves, (ladder, reference, machine)), strict=True):
            np.testing.assert_allclose(found[index], (1 - share) * first + share * last, rtol=1e-6)


@pytest.mark.slow
def test_chosen_machines_reach_the_target_and_measure_as_the_sampler_does(random_machine):
    machine = random_machine(2, 12, 6, 0.6)
    many = tempering.tempered(machine, tempering.independent_units(machine), jnp.linspace(0, 1, 60))
    ladder = tempering.choose_machines(jax.random.key(0), many, target_acceptance=0.4)
    assert ladder.indices[0] == 0
    assert ladder.indices[-1] == 59
    assert np.all(np.diff(ladder.indices) > 0)
    assert np.all(np.asarray(ladder.acceptance) >= 0.4)
    assert 3 <= ladder.indices.size <= 8  # not all of them
    sampler = samplers.replicas(tempering.tempered_gibbs_sampler(ladder.machines), 8)
    run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(2)), 400)
    measured = np.asarray(run.info.swap_acceptance)[:, 50:].mean((0, 1))
    np.testing.assert_allclose(measured, ladder.acceptance, atol=0.1)
    assert int(run.state.round_trips.sum()) == int(run.info.round_trips.sum()) > 8
    assert sorted(run.state.walkers[0].tolist()) == list(range(ladder.indices.size))


def deep_machine(depth: float) -> rbm.RBM:
    """Ten spins that all want to agree: two phases, between which block Gibbs hardly goes."""
    return rbm.RBM(jnp.full((10, 4), depth, jnp.float32), jnp.zeros(10), jnp.zeros(4))


@pytest.mark.slow
def test_tempered_chains_tunnel_where_gibbs_does_not():
    machine = deep_machine(0.9)
    ladder = tempering.tempered(machine, tempering.independent_units(machine), jnp.linspace(0, 1, 8) ** 0.7)
    rates = {}
    for name, sampler in (
        ("gibbs", rbm.gibbs_sampler(machine)),
        ("tempered", tempering.tempered_gibbs_sampler(ladder)),
    ):
        run = samplers.run(
            jax.random.key(0),
            sampler,
            sampler.init(jax.random.key(1)),
            2_000,
            observe=lambda v: jnp.mean(v.astype(jnp.float32)),
        )
        rates[name] = float(tempering.tunnelling_rate(run.trace))
        if name == "tempered":
            np.testing.assert_allclose(rates[name], run.info.has_tunnelled.mean(), atol=2e-3)
            up = float((run.trace > 0).mean())
            assert 0.3 < up < 0.7
    assert rates["gibbs"] < 1e-3
    assert rates["tempered"] > 0.01


@pytest.mark.slow
def test_sampler_resumes_and_does_not_recompile(random_machine):
    machines = machines_of(random_machine, 4, 2, 3)
    sampler = tempering.tempered_gibbs_sampler(machines)
    state = sampler.init(jax.random.key(0), jnp.array([1, 1, -1, 1]))
    assert state.visible.tolist() == [[1, 1, -1, 1]] * 3
    key = jax.random.key(1)
    whole = samplers.run(key, sampler, state, 6)
    half = samplers.run(key, sampler, samplers.run(key, sampler, state, 3).state, 3)
    jax.tree.map(np.testing.assert_array_equal, whole.state, half.state)
    step = jax.jit(lambda sampler, state: sampler.step(key, state))
    step(sampler, state)
    step(tempering.tempered_gibbs_sampler(machines_of(random_machine, 4, 2, 3, 0.2)), state)
    assert step._cache_size() == 1


def test_sampler_reports_what_is_not_finite(random_machine):
    sampler = tempering.tempered_gibbs_sampler(machines_of(random_machine, 4, 2, 2))
    state = sampler.init(jax.random.key(0))
    for value, status in ((0.0, Status.OK), (jnp.nan, Status.NOT_FINITE), (jnp.inf, Status.NOT_FINITE)):
        broken = jax.tree.map(lambda leaf, value=value: leaf + value, sampler)
        assert broken.step(jax.random.key(1), state)[1].status.tolist() == [status]


@pytest.mark.slow
def test_tempered_gradient_is_that_of_the_likelihood(random_machine):
    """From chains in equilibrium: the mean of many ladders is the exact gradient."""
    machine = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), random_machine(4, 4, 3))
    reference = tempering.independent_units(machine)

    def ladder(machine):
        return tempering.tempered(machine, reference, [0.0, 0.4, 0.7, 1.0])

    data = jnp.asarray(np.random.default_rng(5).choice([-1, 1], size=(6, 4)), jnp.int8)
    num_chains = 4000
    chains = tempering.tempered_chains(jax.random.key(0), ladder(machine), num_chains)
    estimate, chains, metrics = tempering.tempered_gradient(ladder, num_steps=40)(
        jax.random.key(1), machine, chains, data
    )
    exact = jax.grad(rbm.negative_log_likelihood)(machine, data)
    for found, value in zip(jax.tree.leaves(estimate), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(found, value, rtol=0, atol=5 / np.sqrt(num_chains))
    assert 0.2 < float(metrics["swap_acceptance"]) < 1
    assert int(chains.step[0]) == 40


@pytest.mark.slow
def test_training_keeps_its_ladders_and_lowers_the_loss():
    spins = samplers.run(
        jax.random.key(0),
        sampler := samplers.thin(samplers.wolff(models.Ising(lattice.hypercubic((3, 3)), 0.4)), 3),
        sampler.init(jax.random.key(1)),
        300,
        observe=lambda spins: spins,
    ).trace.reshape(-1, 9)
    machine = rbm.init(jax.random.key(2), 9, 4)
    reference = tempering.independent_units(machine)

    def ladder(machine):
        return tempering.tempered(machine, reference, [0.0, 0.5, 1.0])

    run = training.fit(
        jax.random.key(3),
        tempering.tempered_gradient(ladder),
        optax.sgd(0.1),
        machine,
        spins,
        aux=tempering.tempered_chains(jax.random.key(4), ladder(machine), 20),
        num_epochs=10,
        batch_size=30,
        validation_fn=lambda machine, chains: {"loss": rbm.negative_log_likelihood(machine, spins)},
    )
    losses = np.asarray(run.validation["loss"])
    assert losses[-1] < losses[0] - 0.2
    assert run.metrics["tunnelling"].shape == (10,)
    assert int(run.aux.step[0]) == 100


def test_bad_input_is_refused(random_machine):
    machine, other = random_machine(0, 4, 3), random_machine(1, 5, 3)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="machines: expected a list of at least two machines or a stack"):
        tempering.tempered_gibbs_sampler([machine])
    with pytest.raises(ValueError, match="machines: expected at least two machines, weights of shape"):
        tempering.tempered_gibbs_sampler(machine)
    with pytest.raises(ValueError, match="machines: expected machines of one shape"):
        tempering.tempered_gibbs_sampler([machine, other])
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), machine)
    with pytest.raises(ValueError, match="machines: expected one number of machines in all parameters"):
        tempering.tempered_gibbs_sampler(stacked._replace(hidden_bias=jnp.zeros((3, 3))))
    with pytest.raises(ValueError, match="hidden_bias: expected finite values"):
        tempering.tempered_gibbs_sampler(stacked._replace(hidden_bias=jnp.full((2, 3), jnp.nan)))
    with pytest.raises(ValueError, match="reference: expected a machine of"):
        tempering.tempered(machine, other, [0.0, 1.0])
    for wrong in ([0.0, 0.5], [0.1, 1.0], [0.0, 0.6, 0.4, 1.0]):
        with pytest.raises(ValueError, match="inverse_temperatures: expected numbers that rise from 0 to 1"):
            tempering.tempered(machine, machine, wrong)
    with pytest.raises(ValueError, match="target_acceptance: expected a number between 0 and 1"):
        tempering.choose_machines(key, stacked, target_acceptance=1.5)
    with pytest.raises(ValueError, match="ladder: expected a function"):
        tempering.tempered_gradient(stacked)
    gradient_fn = tempering.tempered_gradient(lambda machine: [machine, machine])
    with pytest.raises(ValueError, match="chains: expected ladders as aux"):
        gradient_fn(key, machine, None, jnp.ones((2, 4)))
    chains = tempering.tempered_chains(key, [machine] * 3, 2)
    with pytest.raises(ValueError, match=r"chains.hidden: expected shape \(2, 2, 3\), got \(2, 3, 3\)"):
        gradient_fn(key, machine, chains, jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="magnetization: expected"):
        tempering.tunnelling_rate(jnp.ones(3))
