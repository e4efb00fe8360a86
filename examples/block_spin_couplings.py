# %% [markdown]
# # Couplings of block spins, measured
# Sample the Ising model below, at and above its critical coupling, block the spins by the 2x2 majority rule, and
# measure the couplings of every level from the samples alone. Away from the critical point they flow to zero or to
# order; a block-spin Hamiltonian is no longer nearest-neighbour.

# %%
import argparse

import jax

from jaxrg import exact, lattice, models, rg, samplers


# %%
def main(smoke: bool = False) -> None:
    side, num_chains, num_sweeps = (16, 64, 200) if smoke else (32, 512, 2_000)
    for coupling in (0.38, exact.critical_coupling):
        ising = models.Ising(lattice.hypercubic((side, side)), coupling)
        sampler = samplers.multispin_heat_bath(ising, num_chains=num_chains)
        run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), num_sweeps)
        spins = sampler.measure(lambda configuration: configuration, run.state)
        print(f"K = {coupling:.7g}, {num_chains} independent configurations")
        while True:
            basis = lattice.standard_operators(lattice.hypercubic(spins.shape[1:]))
            found = rg.pseudo_likelihood_couplings(spins, basis)
            values = "  ".join(
                f"{name} {value:+.4f} ± {error:.4f}"
                for name, value, error in zip(basis.names, found.couplings, found.errors, strict=True)
            )
            print(f"  {spins.shape[1]:>3} x {spins.shape[2]:<3} {values}")
            if spins.shape[1] <= 8:
                break
            keys = jax.random.split(jax.random.key(spins.shape[1]), len(spins))
            spins = jax.vmap(rg.majority)(keys, spins)


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the couplings of block spins from samples.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    main(smoke=parser.parse_args().smoke)
