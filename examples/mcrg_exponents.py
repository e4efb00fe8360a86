# %% [markdown]
# # Exponents by Monte Carlo renormalisation
# Swendsen's equations give the linearised flow of couplings from how the operators of a lattice and of its block spins
# vary together; its largest even and odd eigenvalues are b^{y_T} and b^{y_h}. Parts of the study:
#
# * `table`: Wu and Car's table for 3 x 3 majority blocks at K = 0.436, with their 13 even and 5 odd operators. Theirs
#   is a chain of two steps: the couplings after the first one, found variationally, are sampled, and the second step is
#   linearised, unbiased and under its bias. The eigenvalues move with those couplings, whose error is given apart.
# * `square`: y_T and y_h at the exact critical point, level by level, and the critical coupling from two lattices.
# * `matching`: two lattices matched at the exact critical coupling, many times: whether they miss it, and by how much.
# * `manifold`: the tangent of the critical manifold in the space of couplings.
# * `field`: phi^4 with linear block spins.
# * `cubic`: three dimensions, block spins drawn with a weight between chance and majority. The weight is chosen on one
#   run, where its last two steps agree, and both exponents are measured on another, of a larger lattice.
#
# `python examples/mcrg_exponents.py --parts table --side 45 --json FILE` keeps the figures of one part.

# %%
import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jaxrg import exact
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
import _mcrg as runs
import _mcrg_cubic as cubes
import _mcrg_field as fields
import _mcrg_matching as pairs
from _study import HEADER, Claim, print_claims, save, show, write_results

OUT = "out/mcrg_exponents"
PARTS = ("table", "square", "matching", "cubic", "manifold", "field")  # the first ones by default with the smoke switch
PUBLISHED = {  # Wu & Car, Phys. Rev. Lett. 119, 220602 (2017)
    45: {
        "unbiased": {"even": (2.970, 0.001), "odd": (7.7171, 0.0002)},
        "biased": {"even": (3.045, 0.005), "odd": (7.858, 0.004)},
    },
    90: {
        "unbiased": {"even": (2.980, 0.003), "odd": (7.7351, 0.0001)},
        "biased": {"even": (3.040, 0.007), "odd": (7.870, 0.002)},
    },
}
EXACT = {"even": 3.0, "odd": 3 ** (15 / 8)}
SQUARE = {"even": 1.0, "odd": 15 / 8}
CUBIC = {"even": 1 / 0.62997097, "odd": (5 - 0.03629761) / 2}  # arXiv:2411.15300
SYMBOLS = {"even": "y_T", "odd": "y_h"}


TABLES = {
    90: runs.TableScale(90, num_iterations=80, num_couplings=512, num_unbiased=8_192, num_biased=512, num_slopes=512)
}


class Scale(NamedTuple):
    """Sizes of the parts."""

    table: runs.TableScale = runs.TableScale()
    square: runs.SquareScale = runs.SquareScale()
    matching: pairs.MatchingScale = pairs.MatchingScale()
    cubic: cubes.CubicScale = cubes.CubicScale()
    field: fields.FieldScale = fields.FieldScale()


SMOKE = Scale(
    runs.TableScale(15, (2, 1), 32, 3, 32, 64, 32, 32, 8),
    runs.SquareScale(16, (2, 1), 3, 64, 2, 64, 50, 32),
    pairs.MatchingScale((32,), 2, 1, 2, 64, 1, 8, 1, 32),
    cubes.CubicScale(
        cubes.Ensemble(16, 2, 32, 2, 32, 50), cubes.Ensemble(16, 2, 32, 2, 64, 50), (0.4, 0.5), (1, 1), (1, 1), 32
    ),
    fields.FieldScale(8, 2, 32, 64, 32),
)


# %% [markdown]
# ## What is claimed, published and measured


# %%
def table_claims(side: int, found: dict[str, Any]) -> list[Claim]:
    """The eigenvalues of the second step, each beside the nearest-neighbour model's own first one."""
    claims = []
    for ensemble in ("unbiased", "biased"):
        for name in ("even", "odd"):
            part, plain = found[ensemble][name], found["nearest_neighbour_only"][name]
            published = PUBLISHED.get(side, {}).get(ensemble, {}).get(name)
            known = f"{published[0]:g}({published[1]:g})" if published else ""
            from_couplings = f" ± {found['errors_from_couplings'][name]:.4f} of couplings"
            claims.append(
                Claim(
                    f"{ensemble}, {name}, L = {side}; exact {EXACT[name]:.4f}",
                    known,
                    show(part["value"], part["error"], 4) + (from_couplings if ensemble == "unbiased" else ""),
                    f"without truncation, first step: {show(plain['value'], plain['error'], 4)}",
                )
            )
    return claims


def level_claims(title: str, levels: list[dict[str, Any]], expected: dict[str, float]) -> list[Claim]:
    """Both exponents by level."""
    return [
        Claim(
            f"{SYMBOLS[name]}, {title} {2 * level['side']} to {level['side']}",
            f"{value:.4f}",
            show(level[name]["exponent"], level[name]["exponent_error"], 4),
            f"condition {level[name]['condition']:.0f}, complex eigenvalues {level[name]['num_complex']}",
        )
        for level in levels
        for name, value in expected.items()
    ]


def square_claims(found: dict[str, Any], away: dict[str, Any]) -> list[Claim]:
    """Exponents, the critical coupling, and the exponents below it."""
    claims = level_claims("square", found["levels"], SQUARE) + level_claims("3 % below", away["levels"], SQUARE)
    claims += [
        Claim(
            f"normal of the manifold, diagonal to nearest, {step['level']} steps",
            f"{2**0.5:.4f}",
            show(step["ratio"], step["error"], 4),
            f"rows parallel to {step['second_direction']:.3f}",
        )
        for step in found["normals"]
    ]
    return claims + [
        Claim(
            f"critical coupling, level {match['level']}",
            f"{exact.critical_coupling:.6f}",
            show(match["coupling"], match["error"], 6),
            f"started at {run['coupling']:.6f}",
        )
        for run in (found, away)
        for match in run["matched"]
    ]


def matching_claims(found: list[dict[str, Any]]) -> list[Claim]:
    """How far from the exact coupling they come out, by level and size."""
    return [
        Claim(
            f"matched coupling less the exact one, L = {row['side']}, level {row['level']}, "
            f"{row['num_operators']} operators",
            "0",
            show(row["shift"], row["error"], 6, "+"),
            f"scatter of runs over their stated error {row['scatter_over_error']:.2f}",
        )
        for row in found
    ]


def manifold_claims(found: dict[str, Any]) -> list[Claim]:
    """Exact: the derivative of the singular part of the diagonal correlation by that of the neighbours is root two."""
    value, error = found["first_row"][1], found["first_row_errors"][1]
    ratio = found["singular_values"][1] / found["singular_values"][0]
    return [
        Claim(
            "normal, diagonal to nearest", f"{2**0.5:.4f}", show(value, error, 4), f"second row direction {ratio:.3f}"
        )
    ]


def field_claims(found: list[dict[str, Any]]) -> list[Claim]:
    """The redundant exponent and y_T."""
    return [
        Claim(
            f"{name}, phi^4 {2 * level['side']} to {level['side']}",
            f"{known:.4f}",
            show(level["exponents"][place], level["errors"][place], 4),
            f"condition {level['condition']:.0f}",
        )
        for level in found
        for place, (name, known) in enumerate({"2 y_h - d, redundant": 1.75, "y_T": 1.0}.items())
    ]


def weight_name(weight: float) -> str:
    return "majority" if weight >= cubes.MAJORITY else f"weight {weight:.4g}"


def of_weights(levels: list[dict[str, Any]]) -> dict[float, list[dict[str, Any]]]:
    """The steps of every weight."""
    return {
        weight: [level for level in levels if level["weight"] == weight]
        for weight in dict.fromkeys(level["weight"] for level in levels)
    }


def cubic_claims(found: dict[str, Any]) -> list[Claim]:
    """The exponents at the weights of the pilot, then all steps."""
    claims = []
    for name, part in found["exponents"].items():
        value, error, drift = part["exponent"], part["error"], part["drift"]
        fewer = part["with_fewer_operators"]
        measured = f"{show(value, error, 4)}, last step less the one before {show(drift, part['drift_error'], 4, '+')}"
        control = f"weight {show(part['weight'], part['weight_error'], 3)}; fewer operators "
        control += show(fewer["exponent"], fewer["error"], 4)
        claims.append(Claim(f"{SYMBOLS[name]}, cubic", f"{CUBIC[name]:.5f}", measured, control))
        if name == "even":
            slope = 1 / value**2
            moved = show(-slope * drift, slope * part["drift_error"], 4, "+")
            measured = f"{show(1 / value, slope * error, 4)}, last step less the one before {moved}"
            claims.append(Claim("nu, cubic", f"{1 / CUBIC[name]:.5f}", measured, ""))
    for run in ("fresh", "pilot"):
        for weight, levels in of_weights(found[run]).items():
            claims += level_claims(f"{run}, {weight_name(weight)}", levels, CUBIC)
    return claims


# %% [markdown]
# ## Figures


# %%
def draw_levels(runs_by_name: dict[str, list[dict[str, Any]]], expected: dict[str, float]) -> Figure:
    """Exponents by the side that a step ends at."""
    figure, grid = style.new_figure(1, 2, size=(11, 4))
    colours, shapes = style.series_colours(len(runs_by_name)), style.markers(len(runs_by_name))
    for axes, (name, value) in zip(grid[0], expected.items(), strict=True):
        for place, (label, levels) in enumerate(runs_by_name.items()):
            x = [level["side"] * (1 + 0.015 * place) for level in levels]
            y, errors = np.array([[level[name]["exponent"], level[name]["exponent_error"]] for level in levels]).T
            style.error_points(
                axes, x, y, errors, color=colours[place], marker=shapes[place], label=label, linestyle="-"
            )
        axes.axhline(value, color="black", linestyle=":", linewidth=1)
        axes.set_xscale("log", base=2)
        axes.invert_xaxis()
        axes.set_xlabel("side of the lattice that a step ends with")
        axes.set_ylabel(f"${SYMBOLS[name]}$, known {value:.4f}")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside right upper")
    return figure


def draw_table(side: int, found: dict[str, Any]) -> Figure:
    """Couplings of the descent, and the eigenvalues beside the published and the exact ones."""
    figure, grid = style.new_figure(1, 3, size=(12, 3.8), width_ratios=[2, 1, 1])
    trajectory = np.array(found["trajectory"])
    for name, colour, values in zip(
        found["couplings"], style.series_colours(trajectory.shape[1]), trajectory.T, strict=True
    ):
        grid[0, 0].plot(values, color=colour, label=name)
    grid[0, 0].set_xlabel("iteration")
    grid[0, 0].set_ylabel("couplings of block spins, running average")
    grid[0, 0].legend(fontsize=6, ncols=3)
    for axes, name in zip(grid[0, 1:], ("even", "odd"), strict=True):
        for place, ensemble in enumerate(("unbiased", "biased")):
            part = found[ensemble][name]
            of_couplings = found["errors_from_couplings"][name] if ensemble == "unbiased" else 0.0
            style.error_points(
                axes,
                [place],
                [part["value"]],
                [np.hypot(part["error"], of_couplings)],
                color=style.SERIES[0],
                marker="o",
                label="measured, couplings included" if not place else "",
            )
            if side in PUBLISHED:
                value, error = PUBLISHED[side][ensemble][name]
                style.error_points(
                    axes,
                    [place + 0.15],
                    [value],
                    [error],
                    color=style.SERIES[1],
                    marker="s",
                    label="published" if not place else "",
                )
        axes.axhline(EXACT[name], color="black", linestyle=":", linewidth=1)
        axes.set_xticks([0, 1], ["unbiased", "biased"])
        axes.set_xlim(-0.5, 1.6)
        axes.set_ylabel(f"largest {name} eigenvalue")
    grid[0, 1].legend(fontsize=8)
    return figure


# %%
def main(
    smoke: bool = False,
    out: str = OUT,
    parts: Any = None,
    side: int = 45,
    json_file: str = "",
) -> None:
    scale = SMOKE if smoke else Scale()._replace(table=TABLES.get(side, runs.TableScale(side)))
    parts = parts or (PARTS[:2] if smoke else PARTS)
    content: dict[str, Any] = {}
    figures: dict[str, Figure] = {}
    print_claims([HEADER])
    if "table" in parts:
        found = content["table"] = runs.wu_car(scale.table)
        print_claims(table_claims(scale.table.side, found))
        figures["table"] = draw_table(scale.table.side, found)
    if "square" in parts:
        found = content["square"] = runs.square(scale.square)
        away = content["below"] = runs.square(scale.square, 0.97 * exact.critical_coupling)
        print_claims(square_claims(found, away))
        figures["square"] = draw_levels({"critical": found["levels"], "3 % below": away["levels"]}, SQUARE)
    if "matching" in parts:
        content["matching"] = pairs.matching(scale.matching)
        print_claims(matching_claims(content["matching"]))
    if "manifold" in parts:
        content["manifold"] = runs.manifold(scale.table)
        print_claims(manifold_claims(content["manifold"]))
    if "field" in parts:
        levels = content["field"] = fields.scalar_field(scale.field)
        print_claims(field_claims(levels))
    if "cubic" in parts:
        found = content["cubic"] = cubes.cubic(scale.cubic)
        print_claims(cubic_claims(found))
        by_name = {
            f"{run}, {weight_name(weight)}": levels
            for run in ("fresh", "pilot")
            for weight, levels in of_weights(found[run]).items()
        }
        figures["cubic"] = draw_levels(by_name, CUBIC)
    save(figures, out)
    write_results(json_file, "python examples/mcrg_exponents.py", scale, content)


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Exponents by Monte Carlo renormalisation.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default=OUT, help="folder of the figures")
    parser.add_argument("--parts", nargs="*", choices=PARTS, help="of the study, all by default")
    parser.add_argument("--side", type=int, default=45, help="of the lattice of the table")
    parser.add_argument("--json", dest="json_file", default="", help="file for the figures")
    main(**vars(parser.parse_args()))
