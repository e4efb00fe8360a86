"""The deep belief network of a stack: its whole joint law, enumerated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rbm, samplers


def random_stack() -> tuple[rbm.RBM, ...]:
    generator = np.random.default_rng(0)
    sizes = (3, 2, 2)
    return tuple(
        rbm.RBM(*(jnp.asarray(generator.normal(size=shape), jnp.float32) for shape in ((n, m), (n,), (m,))))
        for n, m in itertools.pairwise(sizes)
    )


def test_draws_have_the_law_of_the_network(excess_chi_squared):
    lower, top = random_stack()
    sampler = samplers.thin(samplers.replicas(rbm.belief_sampler([lower, top]), 64), 4)
    start = sampler.init(jax.random.key(0))
    assert [layer.shape for layer in start.layers] == [(64, 3), (64, 2), (64, 2)]
    run = samplers.run(jax.random.key(1), sampler, start, 300, observe=lambda visible: visible)
    drawn = np.asarray(run.trace[:, 20:]).reshape(-1, 3)
    of_middle = np.asarray(rbm.visible_distribution(top), float)
    states = [np.array([1 if index >> k & 1 else -1 for k in range(3)]) for index in range(8)]
    expected = np.zeros(8)
    for index, middle in enumerate(itertools.product([-1, 1], repeat=2)):
        middle = np.array(middle[::-1])  # unit 0 is the lowest bit
        means = np.tanh(np.asarray(lower.visible_bias) + np.asarray(lower.weights) @ middle)
        expected += of_middle[index] * np.array([np.prod((1 + means * state) / 2) for state in states])
    counts = np.bincount((drawn > 0) @ np.array([1, 2, 4]), minlength=8)
    assert abs(expected.sum() - 1) < 1e-6
    assert excess_chi_squared(counts, len(drawn) * expected) < 5


def test_one_machine_is_its_gibbs_sampler_and_spins_start_a_chain():
    _, top = random_stack()
    up = jnp.array([1, -1], jnp.int8)
    state = rbm.belief_sampler([top]).init(jax.random.key(0), up)
    assert state.layers[0].tolist() == [1, -1]
    broken = top._replace(hidden_bias=top.hidden_bias.at[0].set(jnp.inf))
    with pytest.raises(ValueError, match="hidden_bias"):
        rbm.belief_sampler([top, broken])
    with pytest.raises(ValueError, match="spins: expected shape"):
        rbm.belief_sampler([top]).init(jax.random.key(0), jnp.ones(3))
