"""Chapter 6 as tables, answers and a section of the page."""

import itertools
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxrg.demo.page import figure_html, section_html
from jaxrg.demo.text import Table, Verdict, chance_of_largest, combined, is_beyond, listed, value_with_error
from jaxrg.demo.workspace import Workspace
from jaxrg.plot import style

TITLE = "6. Renormalisation run backwards"
LEAST_CHANCE = 0.01  # of the largest score among so many, below which something is wrong
BLANK = "#dddddd"  # sites that are not drawn yet, or cannot be moved


def tables(chapter: dict[str, Any]) -> list[Table]:
    """Both samplers beside the exact answers, and the latents of the flow by level."""
    rows = []
    for name, part in (("spins", chapter["spins"]), ("fields", chapter["fields"])):
        rows.append(
            (
                f"{name}, {part['side']} x {part['side']}",
                f"{part['exact_log_partition']:.4f}",
                _log_partition(part),
                f"{part['z']:+.1f}",
                value_with_error(part["kl"], part["kl_error"]),
                f"{part['ess']:.3f}",
            )
        )
    header = ("sampler", "exact ln Z", "ln Z", "z", "KL / nats", "ESS")
    levels = [
        (str(level), str(one["num_latents"]), *(value_with_error(*pair) for pair in _statistics(one)))
        for level, one in enumerate(chapter["fields"]["levels"])
    ]
    names = ("level", "latents", "mean", "variance", "excess kurtosis", "radius")
    return [Table(TITLE, header, rows), Table("6. Latents of exact fields by level", names, levels)]


def _log_partition(part: dict[str, Any]) -> str:
    return value_with_error(part["log_partition"], part["error"]) + ("" if part["is_converged"] else "?")


def _statistics(level: dict[str, Any]) -> list[tuple[float, float]]:
    moments = [tuple(level[name]) for name in ("mean", "variance", "excess_kurtosis")]
    return [*moments, (level["radius"], level["radius_error"])]


def _exactness(question: str, part: dict[str, Any], scores: list[float], numbers: str) -> Verdict:
    """Whether weighted draws are right within their errors; not known where those cannot be trusted."""
    is_known = bool(part["is_converged"] and np.isfinite(scores).all())
    unsure = "" if part["is_converged"] else "; the weights spread too far for errors to be trusted"
    size = "" if len(scores) == 1 else f" of {len(scores)}"
    return Verdict(
        question,
        chance_of_largest(scores) >= LEAST_CHANCE if is_known else None,
        f"{numbers}; |z|{size and ' at most'} {np.max(np.abs(scores)):.1f}; KL "
        f"{value_with_error(part['kl'], part['kl_error'])} nats, {part['ess']:.1%} of {part['num_draws']:,} draws "
        f"effective{unsure}",
    )


def verdicts(chapter: dict[str, Any]) -> list[Verdict]:
    """Whether both samplers are right once they are weighted, and what scales the flow has found."""
    spins, fields = chapter["spins"], chapter["fields"]
    levels = fields["levels"]
    free = f"ln Z {_log_partition(spins)} where it is {spins['exact_log_partition']:.4f}"
    energy = (
        f"energy {value_with_error(spins['energy'], spins['energy_error'])} where it is {spins['exact_energy']:.5f}"
    )
    expected = (("mean", 0), ("variance", 1), ("excess_kurtosis", 0))
    moments = [(one[name][0] - value, one[name][1]) for one in levels for name, value in expected]
    scores = [value / error if error > 0 else np.nan for value, error in moments]
    grows = [
        is_beyond(coarse["radius"] - fine["radius"], combined(coarse["radius_error"], fine["radius_error"]))
        for fine, coarse in itertools.pairwise(levels)
    ]
    reaches = [(one["radius"], one["radius_error"]) for one in levels]
    radii = listed([value_with_error(*reach) for reach in reaches])
    untrained = listed([f"{one['untrained_radius']:.2f}" for one in levels])
    means, variances = (listed([value_with_error(*one[name]) for one in levels]) for name in ("mean", "variance"))
    is_known = bool(np.isfinite(scores).all())
    return [
        _exactness(
            "Does decimation run backwards, weighted, give the exact ln Z and energy of the spins?",
            spins,
            [spins["z"], spins["energy_z"]],
            f"{free}, {energy}",
        ),
        _exactness(
            "Does the flow, weighted, give the exact ln Z of the fields?",
            fields,
            [fields["z"]],
            f"ln Z {_log_partition(fields)} where it is {fields['exact_log_partition']:.4f}",
        ),
        Verdict(
            "Are the latents of exact fields standard normal at every level?",
            chance_of_largest(scores) >= LEAST_CHANCE if is_known else None,
            f"mean {means}, variance {variances} by level; largest |z| of {len(scores)} moments: "
            f"{np.max(np.abs(scores)):.1f}",
        ),
        Verdict(
            "Do latents move larger regions, the coarser their level?",
            all(grows) if np.isfinite(reaches).all() else None,
            f"radius {radii} lattice spacings by level; untrained {untrained}",
        ),
    ]


def _spins_by_level(spins: dict[str, Any]) -> Figure:
    """Configurations as they come to be; what is not drawn yet is blank."""
    pictures = style.drawable("pictures", spins["pictures"], shape="[count, rows, columns]")
    levels = list(range(spins["num_levels"], -1, -1))
    size = (2.2 * len(levels) + 0.4, 2.2 * len(pictures) + 0.3)
    figure, grid = style.new_figure(len(pictures), len(levels), size=size)
    for number, (row, picture) in enumerate(zip(grid, pictures, strict=True)):
        for axes, level in zip(row, levels, strict=True):
            step = 2**level
            known = np.full_like(picture, np.nan)
            known[::step, ::step] = picture[::step, ::step]
            shape = picture[::step, ::step].shape
            axes.set_facecolor(BLANK)
            style.show_image(axes, known, title=f"level {level}: {shape[0]} x {shape[1]} spins" if number == 0 else "")
        row[0].set_ylabel(f"draw {number + 1}")
    return figure


def _weights(chapter: dict[str, Any]) -> Figure:
    """How the logarithms of the weights spread about the exact ln Z."""
    figure, grid = style.new_figure(1, 2, size=(10, 3.6))
    names = (("spins", "inverse decimation of spins", style.BLUE), ("fields", "flow of fields", style.ORANGE))
    for axes, (name, title, colour) in zip(grid[0], names, strict=True):
        part, histogram = chapter[name], chapter[name]["log_weight_histogram"]
        edges, shares = style.drawable("edges", histogram["edges"]), style.drawable("counts", histogram["counts"])
        axes.bar(edges[:-1], shares, np.diff(edges), align="edge", color=colour)
        style.log_axis(axes, shares)
        axes.axvline(0, color=style.GREY, linestyle=":")
        axes.set_xlabel(r"$\ln w - \ln Z$ / nats, exact $Z$")
        axes.set_ylabel("share of draws per bin")
        kl = value_with_error(part["kl"], part["kl_error"])
        axes.set_title(f"{title}: KL {kl} nats; exact: a line at 0", fontsize=9)
    return figure


def _receptive_fields(fields: dict[str, Any]) -> Figure:
    """One latent of each level: how far it moves the sites about its own."""
    levels, side = fields["levels"], fields["side"]
    figure, grid = style.new_figure(1, len(levels), size=(3.1 * len(levels) + 0.9, 3.3))
    ends = -(side // 2) - 0.5, side - side // 2 - 0.5
    for number, (axes, level) in enumerate(zip(grid[0], levels, strict=True)):
        # Moved around the torus, so that the site of the latent is in the middle.
        shift = [side // 2 - place for place in np.unravel_index(level["site"], (side, side))]
        field = np.roll(np.asarray(level["field"], np.float64), shift, (0, 1))
        axes.set_facecolor(BLANK)
        shown = np.where(field > 0, field / style.largest(field), np.nan)
        axes.imshow(shown, cmap="viridis", vmin=0, vmax=1, extent=(*ends, *ends[::-1]))
        axes.plot(0, 0, "+", color=style.RED, markersize=9)
        axes.grid(visible=False)
        for axis in "xy":
            style.integer_axis(axes, np.arange(-(side // 2), side - side // 2), which=axis)
        axes.set_xlabel("sites from the latent's own")
        radius = value_with_error(level["radius"], level["radius_error"])
        axes.set_title(f"level {number}: radius {radius}", fontsize=9)
    figure.colorbar(grid[0][0].images[0], ax=grid, shrink=0.8, label=r"E|$\partial x/\partial z$| / its largest")
    return figure


def _latents(fields: dict[str, Any]) -> Figure:
    """Moments of the latents of exact fields, and their radii, by level."""
    figure, grid = style.new_figure(1, 4, size=(13, 3.2))
    levels = fields["levels"]
    names = ("mean", "variance", "excess kurtosis", "radius / lattice spacings")
    untrained = style.drawable("levels", [one["untrained_radius"] for one in levels])
    expected = ((0, "standard normal"), (1, "standard normal"), (0, "standard normal"), (untrained, "untrained"))
    columns = zip(*map(_statistics, levels), strict=True)
    for axes, name, (value, label), points in zip(grid[0], names, expected, columns, strict=True):
        axes.plot(np.arange(len(levels)), value + np.zeros(len(levels)), color=style.GREY, linestyle="--", label=label)
        values, errors = style.drawable("levels", points, shape="[levels, 2]").T
        style.error_points(axes, np.arange(len(levels)), values, errors, color=style.BLUE, marker="o")
        style.integer_axis(axes, np.arange(len(levels)))
        axes.set_xlim(-0.5, len(levels) - 0.5)
        axes.set_xlabel("level, 0 the finest")
        axes.set_ylabel(name)
        axes.legend(fontsize=8)
    return figure


def section(workspace: Workspace, chapter: dict[str, Any]) -> str:
    """Figures and text of chapter 6."""
    spins, fields = chapter["spins"], chapter["fields"]
    figures = {
        "6_spins": _spins_by_level(spins),
        "6_weights": _weights(chapter),
        "6_receptive_fields": _receptive_fields(fields),
        "6_latents": _latents(fields),
    }
    names = [workspace.figure(name, figure) for name, figure in figures.items()]
    text = (
        f"<p>At the critical coupling K = {chapter['coupling']:.6f}, two samplers that begin with the large scales and "
        "know the probability q of every draw, so that weights w = e<sup>-S</sup>/q make their answers exact. "
        f"Decimation run backwards draws {spins['side']} &times; {spins['side']} spins, every second site from those "
        "that are there, by networks that have learned from Swendsen-Wang samples by maximum likelihood. A flow of the "
        f"same order draws the continuous dual of the model on {fields['side']} &times; {fields['side']} sites, each "
        "from a mixture of Gaussians, and has learned from fields that belong to such samples. KL is KL(q || p) "
        "against the exact ln Z.</p>"
    )
    small = (
        f"<p class='small'>Run forwards, the flow renormalises: {fields['num_fields']} independent exact fields, which "
        "belong to Swendsen-Wang spins, go to latents that would all be standard normal if the flow were exact; their "
        f"KL(p || q) is {value_with_error(fields['forward_kl'], fields['forward_kl_error'])} nats. Radii are those of "
        f"E|&part;x/&part;z|, root of the second moment about its centre, mean over up to 8 latents of a level.</p>"
    )
    shown, other = tables(chapter)
    body = (
        text
        + shown.as_html()
        + figure_html(
            names[0], "Draws of the spins as they come to be, from the coarsest level on; grey: not yet drawn."
        )
        + figure_html(
            names[1], "Logarithms of the weights about the exact ln Z; their mean is -KL, their spread the error."
        )
        + figure_html(
            names[2],
            "How far one latent of each level moves the field, around its own site (cross); grey: sites that it cannot "
            "move, as they are drawn no later.",
        )
        + figure_html(names[3], "Latents of exact fields by level, and how far they reach; bars are standard errors.")
        + other.as_html()
        + small
    )
    return section_html("backwards", TITLE, verdicts(chapter), body)
