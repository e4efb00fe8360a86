# %% [markdown]
# # The critical Ising model, sampled and checked
# Wolff clusters on a torus at the infinite lattice's critical point. Energy and specific heat must agree with Kaufman's
# exact solution of the same finite torus; Binder's cumulant tends to 0.61069 for large tori.

# %%
import argparse

import jax
import jax.numpy as jnp

from jaxrg import exact, lattice, models, samplers, stats


# %%
def estimate(side: int, num_steps: int) -> stats.Thermodynamics:
    """Energy, specific heat, susceptibility and Binder cumulant with errors by the Γ-method."""
    ising = models.Ising(lattice.hypercubic((side, side)), exact.critical_coupling)
    sampler = samplers.wolff(ising)
    key = jax.random.key(1)
    start = samplers.warm_up(key, sampler, sampler.init(jax.random.key(0)), num_steps // 10)
    trace = samplers.run(key, sampler, start, num_steps, observe=ising.observables).trace
    return stats.thermodynamics(trace, coupling=exact.critical_coupling, num_sites=side * side)


# %%
def main(smoke: bool = False) -> None:
    sides = (8,) if smoke else (8, 16, 32)
    num_steps = 2_000 if smoke else 50_000
    print(f"{'side':>4} {'quantity':<17} {'measured':>10} {'error':>9} {'exact':>10} {'z':>5} {'tau_int':>8}")
    for side in sides:
        with jax.enable_x64(True):
            truth = {
                "energy": float(exact.torus_energy(jnp.float64(exact.critical_coupling), (side, side))),
                "specific_heat": float(exact.torus_specific_heat(jnp.float64(exact.critical_coupling), (side, side))),
            }
        for name, found in estimate(side, num_steps)._asdict().items():
            line = f"{side:>4} {name:<17} {float(found.value):>10.5f} {float(found.error):>9.5f} "
            if name in truth:
                line += f"{truth[name]:>10.5f} {(float(found.value) - truth[name]) / float(found.error):>+5.1f} "
            else:
                line += f"{'':>10} {'':>5} "
            print(line + f"{float(found.tau_int):>8.2f}")


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Wolff sampling of the critical Ising model against exact values.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    main(smoke=parser.parse_args().smoke)
