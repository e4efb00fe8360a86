# %% [markdown]
# # Filters by real-space mutual information, beside exact values
# A coarse variable of a block is worth what it tells of the far environment. On strips that is known exactly: the
# joint table comes from the transfer matrix, the best filter from ascent, and the operators it keeps are levels of the
# matrix. Filters learned from samples are held against both, then let loose on dimers between which there is noise.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from _rsmi_dimer_filters import BLOCK, Dimers, dimer_claims, dimer_sampler_claim, dimer_strip_claim
from _rsmi_gaussian import BOUNDS, EXACT, estimate
from _rsmi_relevance import best_binary, decay, dimensions, informations
from _rsmi_scale import FULL, SMOKE, Scale
from _rsmi_strips import CASES, Case, K, best, configurations, learned, table, windows
from _study import HEADER, Claim, print_claims, run_main, save, show
from jax import Array
from matplotlib.figure import Figure

from jaxrg import exact
from jaxrg.plot.style import SERIES, new_figure
from jaxrg.rg import information

# %% [markdown]
# ## Ising strips: exact and learned


# %%
def uniformity(weights: np.ndarray) -> float:
    """Largest deviation from the mean weight, over it."""
    return float(np.abs(weights - weights.mean()).max() / abs(weights.mean()))


def strip_claims(scale: Scale) -> tuple[list[Claim], dict]:
    claims, found = [], {}
    cases = CASES if scale == FULL else CASES[:1]
    spins = {
        width: configurations(jax.random.key(width), K, width, scale.num_configurations)
        for width in {case.width for case in cases}
    }
    for case in cases:
        optimum = best(case)
        names = {"conditional": information.conditional_bound}
        if scale == FULL:
            names |= {"InfoNCE": information.info_nce, "SMILE": information.smile_bound}
        runs = {
            name: learned(case, spins[case.width], bound=bound, num_epochs=scale.num_epochs)
            for name, bound in names.items()
        }
        kept = float(information.filter_information(table(case), information.spin_filter(runs["conditional"].weights)))
        texts = [f"{name} {show(run.information, run.error, 4)}" for name, run in runs.items()]
        claims.append(
            Claim(
                f"{case}: nats, exact {float(optimum.information):.4f}",
                "no exact value",
                ", ".join(texts),
                f"learned filter, exactly {kept:.4f}; of the block {float(optimum.bound):.4f}",
            )
        )
        found[case] = optimum, runs["conditional"]
    case = cases[0]
    others = spins[case.width][jax.random.permutation(jax.random.key(9), len(spins[case.width]))]
    seen = learned_noise(case, spins[case.width], others, scale)
    claims.append(
        Claim("the environment of other configurations: nats", "0", show(seen.information, seen.error, 4), "control")
    )
    return claims, found


def learned_noise(case: Case, spins: Array, others: Array, scale: Scale) -> information.LearnedFilter:
    """Blocks beside environments of other configurations."""
    blocks, around = (windows(part, case.block, case.buffer, 32) for part in (spins, others))
    return information.learn_filter(
        jax.random.key(2), blocks.visible, around.environment, 1, norm=case.norm, num_epochs=scale.num_epochs
    )


def uniform_claims(scale: Scale, found: dict) -> list[Claim]:
    claims = []
    cases = [Case(width, (2, 2), 1, 1, 2.0) for width in scale.widths]
    for case in cases:
        spread = {norm: uniformity(np.asarray(best(case, norm=norm).weights)) for norm in (1.0, 2.0, 6.0)}
        sharp = float(best(case, norm=6.0).information)
        with jax.enable_x64(True):
            exactly = information.strip_joint(K, case.width, case.block, case.buffer)
            same = float(information.filter_information(exactly, information.spin_filter(jnp.full((4, 1), 3.0))))
        learned_spread = f"; learned {uniformity(np.asarray(found[case][1].weights)):.2f}" if case in found else ""
        claims.append(
            Claim(
                f"2x2 of W = {case.width}: spread of the best weights at norm 1, 2",
                "uniform",
                f"{spread[1.0]:.0e}, {spread[2.0]:.0e}{learned_spread}",
                f"norm 6: {spread[6.0]:.2f}, tells {100 * (sharp / same - 1):.2f} % more than uniform",
            )
        )
    return claims


def gaussian_claims(scale: Scale) -> list[Claim]:
    claims = []
    for size in (8, 128) if scale == FULL else (8,):
        bounds = BOUNDS.items() if scale == FULL else list(BOUNDS.items())[:1]
        found = {name: estimate(bound, size, scale.num_gaussian) for name, bound in bounds}
        claims.append(
            Claim(
                f"Gaussians of 20 dimensions, batches of {size}: nats",
                f"{EXACT:.3f} exactly",
                ", ".join(f"{name} {show(*value)}" for name, value in found.items()),
                f"cap of InfoNCE ln {size} = {np.log(size):.2f}",
            )
        )
    return claims


# %% [markdown]
# ## What the best variables keep


# %%
def relevance_claims(scale: Scale) -> tuple[list[Claim], dict]:
    claims, curves = [], {}
    with jax.enable_x64(True):
        for width in scale.widths:
            expected = width / (2 * np.pi * float(exact.strip_correlation_length(jnp.float64(K), width)))
            (spin, _), (energy, _) = (dimensions(width, 3, is_even=even) for even in (False, True))
            claims.append(
                Claim(
                    f"x of the two leading functions of a column, W = {width}",
                    "1/8, 1",
                    f"{spin:.5f} and, of even ones, {energy:.5f}",
                    f"correlation length - first: {abs(spin - expected):.0e}",
                )
            )
        width, buffers = scale.widths[min(1, len(scale.widths) - 1)], range(16 if scale == FULL else 2)
        for name, sides, even in (("all", 2, False), ("even, one side", 1, True), ("even, both sides", 2, True)):
            curves[name] = informations(width, buffers, num_sides=sides, is_even=even)
        slopes = {name: decay(width, values)[-1] for name, values in curves.items()}
        levels = [dimensions(width, 3, is_even=even)[0] for even in (False, True)]
        claims += [
            Claim(
                f"I(V; E) falls as exp(-4 π x b / W), W = {width}, b = {buffers[-1]}: x",
                f"x of σ {levels[0]:.4f}",
                f"{slopes['all']:.4f}",
                f"even functions, one side: {slopes['even, one side']:.4f}, x of ε {levels[1]:.4f}",
            ),
            Claim(
                "even functions between two environments: x",
                f"2 x of σ {2 * levels[0]:.4f}",
                f"{slopes['even, both sides']:.4f}",
                "σ on the left times σ on the right tells of ε",
            ),
        ]
        for even, name in ((False, "σ"), (True, "ε")):
            found = [best_binary(4, buffer, is_even=even) for buffer in (range(9) if scale == FULL else (0,))]
            misses = [one.information / one.of_leading - 1 for one in found]
            others = [one.of_next / one.information for one in found]
            claims.append(
                Claim(
                    f"the best of {'all even' if even else 'all'} binary functions, W = 4, {len(found)} buffers",
                    f"asks for {name} alone",
                    f"tells {max(misses):.0e} more than a threshold of {name}",
                    f"threshold of the next function: {min(others):.3f} to {max(others):.3f} of it",
                )
            )
    return claims, curves


# %% [markdown]
# ## Figures


# %%
def filter_figure(found: dict, dimers: Dimers) -> Figure:
    case = CASES[1] if CASES[1] in found else CASES[0]
    images = {
        "Ising 2x2, exact": np.asarray(found[case][0].weights).reshape(2, 2),
        "Ising 2x2, learned": np.asarray(found[case][1].weights).reshape(2, 2),
    }
    for number, unit in enumerate(np.asarray(dimers.learned.weights).T):
        images[f"dimers with noise, RSMI {number + 1}"] = unit.reshape(BLOCK, BLOCK)
    for name, unit in zip(("most", "least"), dimers.machine.T, strict=True):
        images[f"dimers with noise, CD, {name} on noise"] = unit.reshape(BLOCK, BLOCK)
    figure, axes = new_figure(2, 3, size=(9.0, 6.2))
    for place, (name, image) in zip(axes.ravel(), images.items(), strict=True):
        size = np.abs(image).max()
        image = image if image.sum() > 0 else -image  # the sign of a unit is nothing
        shown = place.imshow(image, cmap="RdBu_r", vmin=-size, vmax=size)
        place.set_title(name, fontsize=9)
        place.set(xticks=[], yticks=[])
        place.grid(visible=False)
        figure.colorbar(shown, ax=place, shrink=0.7)
    return figure


def buffer_figure(scale: Scale, curves: dict) -> Figure:
    figure, axes = new_figure(1, 2, size=(9.5, 3.8))
    left, right = axes[0]
    width, buffers = scale.widths[-1], range(6 if scale == FULL else 2)
    cases = [Case(width, (2, 2), buffer, 1, 2.0) for buffer in buffers]
    lines: dict[str, list[float]] = {"the block, $I(V; E)$": [], "best unit, norm 6": [], "best unit, norm 2": []}
    for case in cases:
        soft, sharp = best(case), best(case, norm=6.0)
        for name, value in zip(lines, (soft.bound, sharp.information, soft.information), strict=True):
            lines[name].append(float(value))
    for (name, values), colour in zip(lines.items(), SERIES, strict=False):
        left.plot(list(buffers), values, "o-", color=colour, label=name)
    left.set(xlabel=f"buffer, columns; 2x2 of W = {width}", ylabel="nats", ylim=(0, None))
    left.legend(fontsize=8)
    for (name, values), colour in zip(curves.items(), SERIES, strict=False):
        right.semilogy(values, "o-", color=colour, label=name)
    right.set(xlabel="buffer, columns; whole column", ylabel="$I(V; E)$, nats")
    right.legend(fontsize=8)
    return figure


# %%
def main(smoke: bool = False, out: str | Path = "out/rsmi_filters") -> None:
    scale = SMOKE if smoke else FULL
    claims, found = strip_claims(scale)
    relevance, curves = relevance_claims(scale)
    dimers, filters = dimer_claims(scale)
    print_claims(
        [
            HEADER,
            *claims,
            *uniform_claims(scale, found),
            *gaussian_claims(scale),
            *relevance,
            dimer_sampler_claim(scale),
            *([dimer_strip_claim(scale)] if scale == FULL else []),
            *dimers,
        ]
    )
    save({"filters": filter_figure(found, filters), "buffers": buffer_figure(scale, curves)}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Filters of relevant information, exact and learned, on Ising strips and on dimers with noise.")
