"""Machines trained by their exact likelihood on a small Ising torus, and what each makes of its Hamiltonian."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import exact, lattice, models, rbm, rg
from jaxrg.base import LogKernel
from jaxrg.tables import all_spins

SHAPE, COARSE = (4, 4), (2, 2)
FINE = lattice.standard_operators(
    lattice.hypercubic(SHAPE), ("nearest_neighbour", "next_nearest_neighbour", "plaquette")
)
BLOCKS = lattice.standard_operators(
    lattice.hypercubic(COARSE), ("nearest_neighbour", "next_nearest_neighbour", "plaquette")
)
FIELDS = lattice.standard_operators(lattice.hypercubic(SHAPE), ("field",))
COARSE_FIELDS = lattice.standard_operators(lattice.hypercubic(COARSE), ("field",))
STEPS = 300  # of L-BFGS: the likelihood then changes by less than a hundredth of its distance to the target's


class Layer(NamedTuple):
    """A scheme from 16 spins to 4 at the critical coupling, in the numbers that tell them apart."""

    kl: float  # of the machine's marginal to the model's, nats
    free_energy_difference: float
    log_rho_std: float
    couplings: np.ndarray  # [3] of what the next layer learns, -ln Σ_v P(v) p(h|v), in operators of the 2x2 torus
    residual: float  # of that Hamiltonian: what no translation-invariant operator of the basis gives, per state
    own_couplings: np.ndarray  # [3] of H^RBM(h)
    thermal: float  # y_T = ln λ / ln 2 of dK'/dK, the kernel held
    magnetic: float  # y_h
    in_block: float  # share of the squared weights that lies in the block of their hidden unit
    in_one_spin: (
        float  # share of the largest weight of each hidden unit: 1 of a copy of one spin, 1/4 of a block's mean
    )


def critical_model() -> models.Ising:
    return models.Ising(lattice.hypercubic(SHAPE), jnp.float64(exact.critical_coupling))


def log_probabilities(model: models.Ising) -> jax.Array:
    return jax.nn.log_softmax(-exact.energies(model.hamiltonian, SHAPE))


def symmetric(weights: jax.Array) -> rbm.RBM:
    """A machine with the ±1 symmetry of the model: no biases."""
    return rbm.RBM(weights, jnp.zeros(len(weights)), jnp.zeros(weights.shape[1]))


def shared(filters: jax.Array) -> rbm.RBM:
    """One block spin a block, all with the same rule."""
    num_filters = len(filters)
    return rbm.convolutional(rbm.Filters(filters, jnp.zeros(()), jnp.zeros(num_filters)), SHAPE, stride=2)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _trained(build: Callable, start: jax.Array, log_p: jax.Array, num_steps: int) -> tuple[jax.Array, jax.Array]:
    states, weights = all_spins(len(log_p).bit_length() - 1), jnp.exp(log_p)
    entropy = -jnp.sum(weights * log_p)

    def kl(parameters: jax.Array) -> jax.Array:
        return rbm.negative_log_likelihood(build(parameters), states, weights) - entropy

    optimizer = optax.lbfgs(memory_size=30)
    value_and_grad = optax.value_and_grad_from_state(kl)

    def step(carry, _):
        parameters, state = carry
        value, gradient = value_and_grad(parameters, state=state)
        updates, state = optimizer.update(gradient, state, parameters, value=value, grad=gradient, value_fn=kl)
        return (optax.apply_updates(parameters, updates), state), value

    with jax.numpy_dtype_promotion("standard"):  # optax mixes int32 counts with floats
        (parameters, _), history = jax.lax.scan(step, (start, optimizer.init(start)), length=num_steps)
    return jnp.asarray(parameters), jnp.asarray(history)


def trained(build: Callable, shape: Sequence[int], seed: int, log_p: jax.Array, num_steps: int = STEPS):
    """A machine at a maximum of the exact likelihood of all states, and KL on the way there."""
    start = 0.3 * jax.random.normal(jax.random.key(seed), tuple(shape), log_p.dtype)
    parameters, history = _trained(build, start, log_p, num_steps)
    return build(parameters), np.asarray(history)


def block_machine(strength: float) -> rbm.RBM:
    """Kadanoff's kernel of 2x2 blocks as a machine: uniform weights inside each block."""
    return shared(jnp.full((1, 2, 2), strength, jnp.float64))


def on_blocks(machine: rbm.RBM) -> rbm.RBM:
    """The machine with its hidden units in the order and with the signs in which they resemble 2x2 blocks most."""
    return rbm.align(machine, block_machine(1.0))


def share(machine: rbm.RBM, chosen: np.ndarray) -> float:
    """Share of the squared weights that is in the chosen ones."""
    weights = np.asarray(machine.weights) ** 2
    return float((weights * chosen).sum() / weights.sum())


def exponents(log_kernel) -> tuple[float, float]:
    """y_T and y_h of dK'/dK at the critical coupling from 4x4 to 2x2, the kernel held, by exact derivatives."""
    critical = jnp.array([exact.critical_coupling, 0, 0])

    def flow(couplings):
        return rg.real_space.coarse_couplings(couplings, FINE, log_kernel, BLOCKS).couplings

    def with_field(field):
        both = lattice.standard_operators(FINE.lattice, (*FINE.names, "field"))
        coarse = lattice.standard_operators(BLOCKS.lattice, (*BLOCKS.names, "field"))
        couplings = jnp.concatenate([critical, field[None]])
        return rg.real_space.coarse_couplings(couplings, both, log_kernel, coarse).couplings[-1]

    matrix = np.asarray(jax.jacfwd(flow)(critical))
    leading = np.max(np.abs(np.linalg.eigvals(matrix)))
    slope = float(jax.grad(with_field)(jnp.zeros(())))
    return float(np.log2(leading)), float(np.log2(abs(slope)))


def layer_of(kernel: LogKernel, model: models.Ising, *, machine: rbm.RBM | None = None) -> Layer:
    """What a kernel from the model to 2x2 spins makes of it; a machine adds its own numbers."""
    match = rg.kernel_matching(model.hamiltonian, SHAPE, kernel, COARSE)
    conditional = rg.project(match.coarse_hamiltonian, BLOCKS)
    thermal, magnetic = exponents(kernel)
    layer = Layer(
        kl=float(match.kl),
        free_energy_difference=float(match.free_energy_difference),
        log_rho_std=float(match.log_rho_std),
        couplings=np.asarray(conditional.couplings),
        residual=float(conditional.residual),
        own_couplings=np.full(3, np.nan),
        thermal=thermal,
        magnetic=magnetic,
        in_block=np.nan,
        in_one_spin=np.nan,
    )
    if machine is None:
        return layer
    match = rg.matching(machine, model.hamiltonian, shape=SHAPE)
    weights = np.abs(machine.weights)
    return layer._replace(
        kl=float(match.kl),
        free_energy_difference=float(match.free_energy_difference),
        log_rho_std=float(match.log_rho_std),
        own_couplings=np.asarray(rg.project(match.coarse_hamiltonian, BLOCKS).couplings),
        in_block=share(machine, np.asarray(block_machine(1.0).weights) > 0),
        in_one_spin=share(machine, weights == weights.max(0)),
    )


def layer_of_machine(machine: rbm.RBM, model: models.Ising) -> Layer:
    """`layer_of` with p(h|v), the hidden units where they resemble blocks most."""
    machine = on_blocks(machine)
    return layer_of(jax.tree_util.Partial(_reshaped, rg.normalized_machine_kernel(machine)), model, machine=machine)


def _reshaped(kernel: LogKernel, coarse: jax.Array, fine: jax.Array) -> jax.Array:
    return kernel(coarse.reshape(-1), fine.reshape(-1))


def neighbours_of_copies(machine: rbm.RBM) -> np.ndarray:
    """``[num_hidden, 4]`` weights of the neighbours of the spin that a hidden unit copies, with that spin's sign."""
    weights = np.asarray(machine.weights)
    neighbours = np.zeros((16, 16), bool)
    for i, j in lattice.hypercubic(SHAPE).edges():
        neighbours[i, j] = neighbours[j, i] = True
    copied = np.abs(weights).argmax(0)
    return np.array(
        [weights[neighbours[site], unit] * np.sign(weights[site, unit]) for unit, site in enumerate(copied)]
    )


def _looked_up(table: jax.Array, spins: jax.Array) -> jax.Array:
    """A Hamiltonian by its table over all states."""
    bits = (spins.reshape(-1) > 0).astype(jnp.int32)
    return table[jnp.sum(bits << jnp.arange(bits.size, dtype=jnp.int32))]


def _summed(hamiltonian: Callable, shape: tuple[int, ...], machine: rbm.RBM) -> jax.Array:
    """``[2**num_hidden]`` of -ln Σ_v exp(-H(v)) p(h|v)."""
    kernel = rg.normalized_machine_kernel(machine)
    return exact.coarse_grain(hamiltonian, shape, kernel, machine.hidden_bias.shape).hamiltonian


def stack_layer(model: models.Ising, seed: int, num_steps: int = STEPS) -> tuple[Layer, float]:
    """A stack 16-8-4, the second machine on the exact law of the first one's hidden layer, and KL of the first."""
    log_p = log_probabilities(model)
    lower, history = trained(symmetric, (16, 8), seed, log_p, num_steps=num_steps)
    hidden = _summed(model.hamiltonian, SHAPE, lower)
    upper, upper_history = trained(symmetric, (8, 4), seed, jax.nn.log_softmax(-hidden), num_steps=num_steps)
    fields = lower.weights @ upper.weights
    order = np.asarray(jnp.linalg.lstsq(lower.weights, on_blocks(symmetric(fields)).weights)[0])
    upper = symmetric(jnp.asarray(order))

    def flow(couplings: jax.Array, basis: lattice.Operators, blocks: lattice.Operators) -> rg.Projection:
        energy = models.OperatorModel(basis, couplings).hamiltonian
        first = jax.tree_util.Partial(_looked_up, _summed(energy, SHAPE, lower))
        return rg.project(_summed(first, (8,), upper), blocks)

    critical = jnp.array([exact.critical_coupling, 0, 0])
    with_field = lattice.standard_operators(FINE.lattice, (*FINE.names, "field"))
    of_blocks = lattice.standard_operators(BLOCKS.lattice, (*BLOCKS.names, "field"))
    matrix = np.asarray(jax.jacfwd(lambda couplings: flow(couplings, FINE, BLOCKS).couplings)(critical))
    slopes = jax.jacfwd(lambda couplings: flow(couplings, with_field, of_blocks).couplings)(jnp.append(critical, 0.0))
    found = flow(critical, FINE, BLOCKS)
    match = rg.matching(upper, jax.tree_util.Partial(_looked_up, hidden))
    return Layer(
        kl=float(upper_history[-1]),
        free_energy_difference=float(match.free_energy_difference),
        log_rho_std=float(match.log_rho_std),
        couplings=np.asarray(found.couplings),
        residual=float(found.residual),
        own_couplings=np.asarray(rg.project(match.coarse_hamiltonian, BLOCKS).couplings),
        thermal=float(np.log2(np.max(np.abs(np.linalg.eigvals(matrix))))),
        magnetic=float(np.log2(abs(float(slopes[-1, -1])))),
        in_block=np.nan,
        in_one_spin=share(upper, np.abs(upper.weights) == np.abs(upper.weights).max(0)),
    ), float(history[-1])
