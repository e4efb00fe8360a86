# %% [markdown]
# # Couplings are interactions
# The transform that explains a classifier reads a Hamiltonian: the Harsanyi interactions of -H are the couplings of a
# lattice gas, its Walsh coefficients those of Ising spins. Here it reads exact renormalised Hamiltonians, a
# Boltzmann machine in closed form, and a machine that was trained on the 4x4 Ising model and never saw a coupling.

# %%
import argparse
import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from jaxrg import exact, lattice, models, rbm, rg, tables

CRITICAL = exact.critical_coupling
DECIMATIONS = (0.1, CRITICAL, 1.0, 2.0)


class Claim(NamedTuple):
    """One line of the table."""

    text: str
    expected: str
    measured: str
    control: str


# %%
def decimated_chain(num_spins: int) -> Claim:
    """Every second spin of a ring summed out: K' = ln(cosh 2K)/2 and nothing else."""
    worst, leading_order = 0.0, 0.0
    for coupling in DECIMATIONS:
        ring = models.Ising(lattice.hypercubic((num_spins,)), jnp.float64(coupling))
        coarse = exact.coarse_grain(ring.hamiltonian, (num_spins,), rg.decimation_kernel(2), (num_spins // 2,))
        couplings = np.array(rg.ising_couplings(coarse.hamiltonian))
        expected = np.zeros_like(couplings)
        expected[0] = couplings[0]
        half = num_spins // 2
        expected[[1 << i | 1 << (i + 1) % half for i in range(half)]] = 0.5 * np.log(np.cosh(2 * coupling))
        worst = max(worst, float(np.abs(couplings - expected).max()))
        leading_order = max(leading_order, abs(coupling**2 - 0.5 * np.log(np.cosh(2 * coupling))))
    text = f"ring of {num_spins}: decimated couplings, all 2^{half} sets, K = 0.1 ... 2"
    return Claim(
        text, "ln(cosh 2K)/2, others 0", f"largest error {worst:.1e}", f"leading order K^2: {leading_order:.1f} off"
    )


def hidden_unit(key: jax.Array) -> Claim:
    """Summing out one hidden unit over three spins: its pair coupling in closed form."""
    weights = jax.random.normal(key, (3,), jnp.float64)
    machine = rbm.RBM(weights[:, None], jnp.zeros(3), jnp.zeros(1))
    couplings = rg.ising_couplings(exact.energies(functools.partial(rbm.visible_hamiltonian, machine), (3,)))

    def log_cosh(signs: tuple[int, int, int]) -> float:
        return float(jnp.log(jnp.cosh(jnp.asarray(signs, jnp.float64) @ weights)))

    closed = (log_cosh((1, 1, 1)) + log_cosh((1, 1, -1)) - log_cosh((1, -1, 1)) - log_cosh((1, -1, -1))) / 4
    leading = float(weights[0] * weights[1])
    return Claim(
        "hidden unit over 3 spins: K_01",
        f"{closed:.12f}",
        f"{couplings[0b011]:.12f}",
        f"second order w_0 w_1: {leading:.3f}",
    )


# %%
class Blocked(NamedTuple):
    """Couplings of 2x2 block spins of the 4x4 torus."""

    by_coupling: np.ndarray  # [K, 4]: K, neighbour, diagonal, plaquette
    claim: Claim


def blocked_torus(num_points: int) -> Blocked:
    """Kadanoff's majority rule on the 4x4 torus: the couplings of the blocks, and what the transform left out."""
    neighbour, diagonal, plaquette = 0b0011, 0b1001, 0b1111

    @jax.jit
    def couplings_of(coupling: jax.Array) -> jax.Array:
        ising = models.Ising(lattice.hypercubic((4, 4)), coupling)
        blocks = exact.coarse_grain(ising.hamiltonian, (4, 4), rg.majority_kernel(2), (2, 2))
        return rg.ising_couplings(blocks.hamiltonian)

    values = np.linspace(0.1, 0.8, num_points)
    tables = np.stack([couplings_of(jnp.float64(value)) for value in values])
    critical = couplings_of(jnp.float64(CRITICAL))
    gas = rg.ising_to_lattice_gas(critical)
    back = jnp.max(jnp.abs(rg.lattice_gas_to_ising(gas) - critical))
    # On the 2x2 torus a neighbour is met along two bonds and the diagonal along four.
    per_bond = float(critical[neighbour]) / 2, float(critical[diagonal]) / 4
    claim = Claim(
        "majority blocks at K_c: neighbour, diagonal, plaquette per bond",
        "all three generated, decreasing",
        f"{per_bond[0]:.4f}, {per_bond[1]:.4f}, {float(critical[plaquette]):+.4f}",
        f"lattice gas and back: {back:.0e}",
    )
    return Blocked(np.column_stack([values, tables[:, [neighbour, diagonal, plaquette]]]), claim)


# %%
class Learned(NamedTuple):
    """Couplings of a trained machine by number of spins, beside those of the untrained one."""

    distances: list[tuple[str, np.ndarray]]
    strengths: np.ndarray  # [order] of the trained machine, per set
    claim: Claim


def train(machine: rbm.RBM, model: models.Ising, num_steps: int) -> rbm.RBM:
    """Adam on the exact KL divergence."""
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, num_steps))
    gradient = jax.grad(lambda m: rg.matching(m, model.hamiltonian, shape=(4, 4)).kl)

    def step(carry, _):
        machine, state = carry
        updates, state = optimizer.update(gradient(machine), state)
        return (jax.tree.map(jnp.add, machine, updates), state), None

    (machine, _), _ = jax.lax.scan(step, (machine, optimizer.init(machine)), length=num_steps)
    return machine


def torus_offset(i: int, j: int) -> list[int]:
    """How far apart two sites of the 4x4 torus are along each axis, the smaller first."""
    steps = (abs(i // 4 - j // 4), abs(i % 4 - j % 4))
    return sorted(min(step, 4 - step) for step in steps)


def learned_torus(key: jax.Array, num_steps: int) -> Learned:
    """Train on the exact distribution of the 4x4 torus, then read what the machine couples."""
    model = models.Ising(lattice.hypercubic((4, 4)), jnp.float64(CRITICAL))
    start = rbm.init(key, 16, 16, scale=0.1, dtype=jnp.float64)
    machine = jax.jit(train, static_argnums=2)(start, model, num_steps)
    pairs = {(i, j): 1 << i | 1 << j for i in range(16) for j in range(i)}
    offsets = {pair: torus_offset(*pair) for pair in pairs}
    names = {"neighbours": [0, 1], "diagonal": [1, 1], "distance 2": [0, 2]}

    def read(machine: rbm.RBM) -> jax.Array:
        return rg.ising_couplings(exact.energies(functools.partial(rbm.visible_hamiltonian, machine), (16,)))

    couplings, before = np.asarray(read(machine)), np.asarray(read(start))
    groups = [
        (name, couplings[[pairs[pair] for pair in pairs if offsets[pair] == offset]]) for name, offset in names.items()
    ]
    bonds = groups[0][1]
    bond_before = before[[pairs[pair] for pair in pairs if offsets[pair] == [0, 1]]]
    sizes = np.asarray(tables.subset_sizes(16))
    strengths = np.array([np.abs(couplings[sizes == order]).mean() for order in range(1, 17)])
    claim = Claim(
        "machine trained on 4x4 at K_c: coupling of 32 bonds",
        f"{CRITICAL:.4f}",
        f"{bonds.mean():.4f} ± {bonds.std(ddof=1) / np.sqrt(len(bonds)):.4f}",
        f"untrained {bond_before.mean():.4f}; diagonal {groups[1][1].mean():+.4f}",
    )
    return Learned(groups, strengths, claim)


# %%
def draw(blocked: Blocked, learned: Learned, out: Path) -> None:
    """Block couplings against K; what the trained machine couples."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for column, (name, bonds) in enumerate((("neighbour", 2), ("diagonal", 4), ("plaquette", 1)), start=1):
        left.plot(blocked.by_coupling[:, 0], blocked.by_coupling[:, column] / bonds, label=name)
    left.plot(blocked.by_coupling[:, 0], blocked.by_coupling[:, 0], "k:", label="K' = K")
    left.axvline(CRITICAL, color="grey", linewidth=0.8)
    left.set(xlabel="coupling K of the 4 x 4 torus", ylabel="coupling per bond of the blocks", title="majority blocks")
    left.legend(frameon=False)
    middle.boxplot([values for _, values in learned.distances], tick_labels=[name for name, _ in learned.distances])
    middle.axhline(CRITICAL, color="C0", linestyle=":", label="$K_c$ (the model's)")
    middle.axhline(0, color="grey", linewidth=0.8)
    middle.set(ylabel="coupling of a pair", title="pairs of the trained machine")
    middle.legend(frameon=False)
    right.semilogy(range(1, 17), learned.strengths, "o-")
    right.set(xlabel="number of spins in the set", ylabel="mean |coupling| of a set", title="couplings by order")
    right.set_xticks(range(2, 17, 2))
    figure.savefig(out / "couplings.png", dpi=120)
    plt.close(figure)


def main(smoke: bool = False, out: Path = Path("out/couplings_from_interactions")) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 2)
        blocked = blocked_torus(3 if smoke else 25)
        learned = learned_torus(keys[0], 30 if smoke else 3_000)
        claims = [decimated_chain(8 if smoke else 16), hidden_unit(keys[1]), blocked.claim, learned.claim]
    print(f"{'claim':<66} | {'expected':<32} | {'measured':<28} | control")
    for claim in claims:
        print(f"{claim.text:<66} | {claim.expected:<32} | {claim.measured:<28} | {claim.control}")
    draw(blocked, learned, out)
    print(f"figure: {out / 'couplings.png'}")


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Read couplings with the transform that explains networks.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", type=Path, default=Path("out/couplings_from_interactions"), help="folder for figures")
    chosen = parser.parse_args()
    main(smoke=chosen.smoke, out=chosen.out)
