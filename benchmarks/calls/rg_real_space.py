"""Real-space renormalisation: maps of couplings and kernels with parameters."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from benchmarks.calls.rg import hamiltonian
from jaxrg import lattice, rg
from jaxrg.rg import real_space

NAMES = ["nearest_neighbour", "field"]
FINE, COARSE = (lattice.standard_operators(lattice.hypercubic((side,)), NAMES) for side in (6, 3))


def number(seed: int) -> jax.Array:
    return 0.2 + 0.1 * jax.random.uniform(jax.random.key(seed))


def mapped(seed: int) -> dict:
    kernel = rg.kadanoff_kernel(number(seed), 2)
    return {"couplings": jnp.stack([number(seed)] * 2), "fine": FINE, "log_kernel": kernel, "coarse": COARSE}


def moved(seed: int) -> dict:
    return {"coupling": number(seed), "rescaling": 1.5 + number(seed), "ndim": 3, "num_states": 3}


def square(seed: int) -> dict:
    return {"couplings": real_space.SquareCouplings(*[number(seed)] * 5), "parameter": number(seed)}


def kernel_of(seed: int):
    shift = number(seed)
    return lambda weight: rg.kadanoff_kernel(weight + shift, 2)


CALLS = [
    Call("rg.real_space.coarse_couplings", mapped),
    Call("rg.real_space.coarse_lattice_gas", mapped),
    Call(
        "rg.real_space.decimate_chain", lambda seed: {"coupling": number(seed), "field": number(seed), "rescaling": 3}
    ),
    Call("rg.real_space.decimate_square", lambda seed: {"coupling": number(seed)}),
    Call("rg.real_space.decimate_then_move", moved),
    Call(
        "rg.real_space.lower_bound_fixed_point",
        lambda seed: {"guess": real_space.SquareCouplings(0.14, 0.14, -0.007), "parameter": 0.7 + 0.3 * number(seed)},
    ),
    Call("rg.real_space.lower_bound_log_partition", lambda seed: square(seed) | {"num_levels": 10}),
    Call("rg.real_space.lower_bound_step", square),
    Call(
        "rg.real_space.minimum",
        lambda seed: {"objective": bowl(seed), "guess": jax.random.normal(jax.random.key(seed), (2,))},
    ),
    Call("rg.real_space.move_then_decimate", moved),
    Call(
        "rg.real_space.variational_kernel",
        lambda seed: {
            "make_kernel": kernel_of(seed),
            "hamiltonian": hamiltonian(seed),
            "shape": (4,),
            "coarse_shape": (2,),
            "guess": number(seed),
            "loss": in_the_middle(seed),
        },
    ),
]


def bowl(seed: int):
    centre = number(seed)
    return lambda parameters: jnp.sum((parameters - centre) ** 2)


def in_the_middle(seed: int):
    centre = -number(seed)
    return lambda match: (match.coarse_hamiltonian[0] - match.coarse_hamiltonian[1] - centre) ** 2
