# %% [markdown]
# # The exact map between renormalisation and a Boltzmann machine
# With ln T = H - E, the renormalised Hamiltonian of the hidden spins is the machine's own for every parameter. What
# training changes is how far ρ(v) is from a constant, and KL(P‖p) = ln⟨ρ⟩ - ⟨ln ρ⟩ measures it. A machine with one
# hidden unit per bond reaches zero by construction; here one learns by the exact gradient of KL instead.

# %%
import argparse

import jax
import jax.numpy as jnp
import optax

from jaxrg import exact, lattice, models, rbm, rg

SHAPE = (3, 4)


# %%
def train(machine: rbm.RBM, model: models.Ising, num_steps: int) -> tuple[rbm.RBM, jax.Array]:
    """Adam on KL, enumerated; returns the machine and KL before every step."""
    optimizer = optax.adam(0.03)
    value_and_grad = jax.value_and_grad(lambda m: rg.matching(m, model.hamiltonian, shape=SHAPE).kl)

    def step(carry, _):
        machine, state = carry
        kl, gradient = value_and_grad(machine)
        updates, state = optimizer.update(gradient, state)
        machine = jax.tree.map(jnp.add, machine, updates)
        return (machine, state), kl

    (machine, _), kl = jax.lax.scan(step, (machine, optimizer.init(machine)), length=num_steps)
    return machine, kl


# %%
def show(title: str, machine: rbm.RBM, model: models.Ising) -> None:
    """Both Hamiltonians state by state, and what ρ says."""
    match = rg.matching(machine, model.hamiltonian, shape=SHAPE)
    num_hidden = machine.hidden_bias.shape[0]
    kernel = rg.machine_kernel(machine, model.hamiltonian)
    summed = exact.coarse_grain(model.hamiltonian, SHAPE, kernel, (num_hidden,))
    difference = jnp.max(jnp.abs(summed.hamiltonian - match.coarse_hamiltonian))
    print(
        f"{title:<22} KL {match.kl:.3e}  Jensen gap {match.jensen_gap:.3e}  std ln rho {match.log_rho_std:.3e}  "
        f"Delta F {match.free_energy_difference:+.4f}  max|H_RG - H_RBM| {difference:.1e}"
    )


# %%
def main(smoke: bool = False) -> None:
    with jax.enable_x64(True):
        model = models.Ising(lattice.hypercubic(SHAPE), jnp.float64(exact.critical_coupling))
        start = rbm.init(jax.random.key(0), 12, 4 if smoke else 10, scale=0.1, dtype=jnp.float64)
        show("random machine", start, model)
        trained, _ = jax.jit(train, static_argnums=2)(start, model, 50 if smoke else 2_000)
        show("trained machine", trained, model)
        small = models.Ising(lattice.hypercubic((2, 3)), model.coupling)
        by_hand = rg.matching(rg.bond_machine(small.lattice, small.coupling), small.hamiltonian, shape=(2, 3))
        print(f"{'one unit per bond, 2x3':<22} KL {by_hand.kl:.3e}  std ln rho {by_hand.log_rho_std:.3e}")


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a Boltzmann machine by the exact gradient of KL.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    main(smoke=parser.parse_args().smoke)
