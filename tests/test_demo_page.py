"""The answers, sentences and tables of the demo follow from its numbers."""

import html.parser
import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models
from jaxrg.demo import (
    backwards_report,
    block_spins_report,
    exact_map_report,
    network_report,
    page,
    readable_report,
    stack_report,
    text,
    thermodynamics_report,
)
from tests import demo_chapters

NAN = float("nan")


def answers(report, chapter) -> list[str]:
    return [verdict.answer for verdict in report.verdicts(chapter)]


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (1.23456, 0.0067, "1.2346(67)"),
        (12.3, 1.5, "12.3(15)"),
        (1234.5, 67.0, "1234(67)"),
        (0.5, 0.0, "0.5"),
        (1.0712, 0.0998, "1.07(10)"),
        (NAN, 0.1, "nan"),
        (1.5, NAN, "1.5(?)"),
        (1.5, math.inf, "1.5(?)"),
        (math.inf, 1.0, "inf"),
        (1.23e30, 4.5e28, "1.230(45)e+30"),
        (3e-6, 4e-7, "3.00(40)e-06"),
    ],
)
def test_errors_are_printed_in_brackets(value, error, shown):
    assert text.value_with_error(value, error) == shown


def test_the_chance_of_a_largest_score():
    """One of a single score beyond 1.96 is 5 %, of ten independent ones 1 - 0.95^10."""
    assert text.chance_of_largest([-1.959964]) == pytest.approx(0.05, rel=1e-5)
    assert text.chance_of_largest([1.959964] * 10) == pytest.approx(1 - 0.95**10, rel=1e-5)
    assert text.chance_of_largest([0.0, 0.0]) == 1


def test_nothing_unknown_is_beyond_its_error():
    assert text.is_beyond(2.1, 1.0)
    assert not text.is_beyond(1.9, 1.0)
    assert not text.is_beyond(NAN, 1.0)
    assert not text.is_beyond(1.0, NAN)


TABLE = text.Table(
    "a table of numbers",
    ("side", "next nearest neighbour", "value of it", "word"),
    [("16", "-0.0123456(78)", "1.5", "Wolff"), ("16", "2.25(10)", "", "heat bath"), ("8", "3", "4", "Wolff")],
    num_shared=1,
)


@pytest.mark.parametrize("width", [None, 200, 80, 50, 40, 30, 20, 14, 1])
def test_no_width_loses_a_character_of_a_table(width):
    lines = TABLE.lines(width)
    printed = " ".join(lines).split()
    for cell in itertools.chain(*(row[1:] for row in TABLE.rows), TABLE.header, ["16", "8"]):
        assert all(word in printed for word in cell.split()), (cell, lines)
    # The widest number cannot be folded.
    assert width is None or max(map(len, lines)) <= max(width, len("-0.0123456(78)"))


@pytest.mark.parametrize(
    ("report", "name"),
    [
        (thermodynamics_report, "thermodynamics"),
        (exact_map_report, "exact_map"),
        (stack_report, "stack"),
        (block_spins_report, "block_spins"),
        (network_report, "interactions"),
        (backwards_report, "backwards"),
        (readable_report, "readable"),
    ],
)
def test_every_table_of_the_demo_fits_80_columns(report, name):
    chapter = demo_chapters.chapters()[name]
    if name == "thermodynamics":  # the longest numbers of the full run
        quantity = chapter["rows"][0]["quantities"]["binder"]
        quantity |= {"value": 0.6663795123, "error": 1.9e-6, "tau_int": 0.8077, "tau_int_error": 0.008}
        chapter["rows"][0]["side"] = 32
    for table in report.tables(chapter):
        lines = table.lines(80)
        assert max(map(len, lines)) <= 80
        assert len(set(table.header)) == len(table.header)
        for cell in itertools.chain.from_iterable(table.rows):
            assert cell in "\n".join(lines)


class Parsed(html.parser.HTMLParser):
    """Tags that are opened and closed, and what they hold."""

    def __init__(self, source: str):
        super().__init__()
        self.open, self.tags, self.alts = [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.alts += [value for name, value in attrs if name == "alt"]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_tables_and_figures_are_html():
    source = TABLE.as_html(is_folded=True) + page.figure_html("a.png", "ln <rho> & 'T'")
    parsed = Parsed(
        page.page_html("<p>how</p>", page.summary_html([("one", [text.Verdict("<?>", None, "1")])]), [source])
    )
    assert parsed.open == []
    assert {"details", "summary", "thead", "tbody", "caption"} - set(parsed.tags) == {"caption"}
    assert parsed.alts == ["ln <rho> & 'T'"]
    assert source.count("<th ") == len(TABLE.header)
    assert 'rowspan="2">16</td>' in source


def test_scores_of_wrong_values_or_wrong_errors_are_seen():
    assert answers(thermodynamics_report, demo_chapters.thermodynamics(z=1.0)) == ["yes"]
    assert answers(thermodynamics_report, demo_chapters.thermodynamics(z=6.0)) == ["no"]
    assert answers(thermodynamics_report, demo_chapters.thermodynamics(z=NAN)) == ["not known"]
    chapter = demo_chapters.thermodynamics(z=0.5)
    chapter["rows"][0]["quantities"]["energy"]["z"] = 4.5  # alone among fifteen small ones
    assert answers(thermodynamics_report, chapter) == ["no"]


def test_a_broken_identity_and_a_worse_machine_are_seen():
    assert answers(exact_map_report, demo_chapters.exact_map()) == ["yes", "yes"]
    assert answers(exact_map_report, demo_chapters.exact_map(kl=2.0, difference=1e-6)) == ["no", "no"]
    assert answers(exact_map_report, demo_chapters.exact_map(kl=NAN)) == ["not known", "not known"]


@pytest.mark.parametrize(
    ("changes", "expected", "claims"),
    [
        ({"overlap": 0.27}, ["yes", "yes"], "finds block spins"),
        ({}, ["yes", "no"], "cannot be told from"),
        ({"overlap": 0.2}, ["yes", "no"], "is worse than"),
        ({"control_radius": 1.2, "overlap": 0.27}, ["no", "yes"], "nothing here is evidence"),
        ({"radius": 3.0, "overlap": 0.2}, ["no", "no"], "nothing here is evidence"),
        ({"radius": NAN}, ["not known", "no"], "nothing here is evidence"),
    ],
)
def test_block_spins_are_claimed_only_where_radius_and_overlap_beat_the_control(changes, expected, claims):
    chapter = demo_chapters.stack(**changes)
    assert answers(stack_report, chapter) == expected
    assert claims in stack_report.conclusion(chapter)
    assert ("finds block spins" in stack_report.conclusion(chapter)) == (expected == ["yes", "yes"])


def test_couplings_are_said_to_do_what_they_do():
    assert answers(block_spins_report, demo_chapters.block_spins()) == ["yes"] * 5
    assert answers(block_spins_report, demo_chapters.block_spins(0.405, 0.015, 5.0, 1.86, 1.875)) == ["no"] * 5
    assert answers(block_spins_report, demo_chapters.block_spins(*[NAN] * 5)) == ["not known"] * 5


@pytest.mark.parametrize(
    ("orders", "control", "expected", "sentence"),
    [
        ((3.0, 2.0, 2.9), (3.0, 2.9, 2.95), ["yes", "yes", "no"], "lowest at epoch 1 and rises again"),
        ((3.0, 2.5, 2.0), (3.0, 2.5, 2.0), ["no", "no", "no"], "lowest at the end of training"),
        ((3.0, 2.0, 2.1), (3.0, 2.0, 2.9), ["no", "no", "yes"], "by no more than its error"),
        ((3.0, 2.8, NAN), (3.0, 2.0, 2.1), ["no", "not known", "no"], "how it ends is not known"),
        ((NAN, NAN, NAN), (3.0, 2.0, 2.1), ["not known", "not known", "no"], "diverged"),
    ],
)
def test_orders_rise_again_only_if_they_do(orders, control, expected, sentence):
    chapter = demo_chapters.interactions(orders, control)
    assert answers(network_report, chapter)[:3] == expected
    assert sentence in network_report._dynamics(chapter)
    assert ("rises again" in network_report._dynamics(chapter)) == (expected[1] == "yes")


def test_three_ways_to_read_couplings_are_compared():
    assert answers(network_report, demo_chapters.interactions(difference=1e-3))[3] == "no"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["yes", "yes", "yes", "yes"]),
        ({"z": 4.0}, ["no", "no", "yes", "yes"]),
        ({"is_converged": False}, ["not known", "not known", "yes", "yes"]),
        ({"z": NAN}, ["not known", "not known", "yes", "yes"]),
        ({"variance": 1.2, "radius": 0.6}, ["yes", "yes", "no", "no"]),
        ({"variance": NAN, "radius": NAN}, ["yes", "yes", "not known", "not known"]),
    ],
)
def test_samplers_are_exact_only_where_their_weights_say_so(changes, expected):
    assert answers(backwards_report, demo_chapters.backwards(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["yes", "yes", "yes", "yes"]),
        ({"best": 0.99}, ["no", "yes", "yes", "yes"]),
        ({"best": 0.62, "top": 0.81}, ["yes", "yes", "no", "yes"]),
        ({"best": NAN, "top": NAN}, ["not known", "not known", "not known", "yes"]),
        ({"mmd": 0.03}, ["yes", "yes", "yes", "no"]),
    ],
)
def test_what_is_read_stands_beside_ceiling_and_control(changes, expected):
    assert answers(readable_report, demo_chapters.readable(**changes)) == expected


def test_the_curves_of_the_small_torus_are_those_of_enumeration(x64):
    temperatures = [1.5, 3.0]
    curves = thermodynamics_report.small_torus(3, temperatures)

    def m(spins):
        return jnp.abs(jnp.sum(spins.astype(jnp.float64))) / 9

    for place, temperature in enumerate(temperatures):
        ising = models.Ising(lattice.hypercubic((3, 3)), 1 / temperature)
        energy, modulus = exact.expectation(
            ising.hamiltonian, lambda s, ising=ising: (ising.observables(s)[0], m(s)), (3, 3)
        )
        np.testing.assert_allclose(curves["energy"][place], energy, rtol=1e-12)
        np.testing.assert_allclose(curves["abs_magnetization"][place], modulus, rtol=1e-12)
        heat = exact.torus_specific_heat(1 / temperature, (3, 3))
        np.testing.assert_allclose(curves["specific_heat"][place], heat, rtol=1e-10)
