"""Samples from the command line: the whole life of a folder, and what is refused."""

import re
import shutil

import jax
import numpy as np
import pytest

from jaxrg import cli, exact, samplers, store
from jaxrg.cli.streams import Stream

SIZE = ["--size", "4", "4", "--burn-in", "20"]
PLAN = [*SIZE, "--temperatures", "2.5", "4", "--sampler", "heat_bath", "--num-samples", "300"]


def contents(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(name, *arguments) -> int:
    return cli.main([name, *map(str, arguments)])


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "samples"
    assert command("sample", "--out", folder, *PLAN) == 0
    return folder


@pytest.fixture
def copied(sampled, tmp_path):
    return shutil.copytree(sampled, tmp_path / "samples")


def test_the_summary_has_the_exact_values_within_its_errors(sampled, capsys):
    assert command("sample", "--out", sampled, *PLAN) == 0
    printed = capsys.readouterr().out
    rows = re.findall(r"energy +(-?[\d.]+)\((\d+)\)", printed)
    assert len(rows) == 2
    for (value, digits), temperature in zip(rows, (2.5, 4.0), strict=True):
        error = int(digits) * 10.0 ** -len(value.partition(".")[2])
        expected = float(-jax.grad(exact.torus_log_partition)(1 / temperature, (4, 4))) / 16
        assert abs(float(value) - expected) < 5 * error
    assert all(name in printed for name in ("|m|", "m²", "1 x 300"))


def test_again_does_nothing_and_more_goes_on(sampled, copied):
    before = contents(copied)
    assert command("sample", "--out", copied, *PLAN) == 0
    assert contents(copied) == before
    assert command("sample", "--out", copied, *PLAN, "--num-samples", 310) == 0
    for name in ("T=2.5,seed=0", "T=4,seed=0"):
        longer = store.SampleStore(copied / name)
        assert longer.num_samples == 310
        np.testing.assert_array_equal(longer.read(0, 300), store.SampleStore(sampled / name).read())


def test_what_is_stored_is_the_plain_run_of_each_temperature(sampled):
    for temperature in (2.5, 4.0):
        found = store.SampleStore(sampled / f"T={temperature:g},seed=0")
        stream = Stream.of_notes(found.description["notes"])
        sampler = stream.sampler
        expected = samplers.run(stream.key, sampler, stream.start(sampler), 300, observe=lambda spins: spins)
        np.testing.assert_array_equal(found.read(), expected.trace)
    keys = [store.SampleStore(folder).description["key"] for folder in sorted(sampled.glob("T=*"))]
    assert keys[0] != keys[1]


def test_a_dry_run_writes_nothing_and_says_what_it_takes(tmp_path, capsys):
    assert command("sample", "--out", tmp_path / "new", *PLAN, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "2,400 bytes of samples in all" in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_until_an_error_is_reached(tmp_path, capsys):
    plan = [*SIZE, "--temperatures", "5", "--num-samples", "20000", "--until", "0.06"]
    assert command("sample", "--out", tmp_path / "out", *plan) == 0
    found = store.SampleStore(tmp_path / "out" / "T=5,seed=0")
    assert 256 <= found.num_samples < 20000
    value, digits = re.findall(r"energy +(-?[\d.]+)\((\d+)\)", capsys.readouterr().out)[0]
    assert int(digits) * 10.0 ** -len(value.partition(".")[2]) <= 0.06
    before = contents(tmp_path)
    assert command("sample", "--out", tmp_path / "out", *plan) == 0
    assert contents(tmp_path) == before


def test_damage_is_refused_told_and_repaired(sampled, copied, capsys):
    stream = copied / "T=4,seed=0"
    content = bytearray((stream / "samples/00000001/c.0.0.0").read_bytes())
    content[77] ^= 4
    (stream / "samples/00000001/c.0.0.0").write_bytes(content)
    (copied / "run.json").write_text("{}")
    assert command("sample", "--out", copied, *PLAN) == 2
    assert command("verify", copied) == 1
    printed = capsys.readouterr()
    assert "T=4,seed=0/samples/00000001/c.0.0.0 (other bytes)" in printed.out
    assert "run.json (other bytes)" in printed.out
    assert "T=2.5,seed=0: whole; replayed commits 0, 1" in printed.out
    (stream / "run.json").unlink()
    assert command("verify", copied, "--repair") == 0
    assert contents(copied) == contents(sampled)
    assert command("verify", copied) == 0
    (stream / "commits/00000001.json").unlink()
    assert command("sample", "--out", copied, *PLAN) == 1
    assert "commits/00000001.json (no file); jaxrg verify --repair puts it back" in capsys.readouterr().err


def test_folders_are_merged_unless_they_overlap_or_differ(sampled, tmp_path, capsys):
    def sample(name, *options):
        assert command("sample", "--out", tmp_path / name, *PLAN, "--num-samples", 5, *options) == 0
        return tmp_path / name

    other = sample("other", "--temperatures", "4", "--seed", "1")
    assert command("merge", sampled, other, "--out", tmp_path / "merged") == 0
    merged = contents(tmp_path / "merged")
    names = {name for name in merged if name.startswith("T=4,")}
    assert {name: merged[name] for name in names} == {
        name: found for folder in (sampled, other) for name, found in contents(folder).items() if name in names
    }
    assert command("merge", sampled, other, "--out", tmp_path / "merged") == 0  # as if it had been killed at the end
    assert command("verify", tmp_path / "merged") == 0
    for folders, message in (
        ((sampled, sampled), "expected streams with random numbers of their own"),
        ((sampled, sample("overlapping", "--temperatures", "4")), "expected streams with random numbers of their own"),
        ((sampled, sample("differing", "--burn-in", "30")), "with burn_in 20, got 30"),
    ):
        assert command("merge", *folders, "--out", tmp_path / "refused") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "refused").exists()
    assert command("merge", tmp_path / "differing", "--out", tmp_path / "merged") == 2
    assert command("merge", tmp_path / "overlapping", "--out", tmp_path / "merged") == 2
    (other / "T=4,seed=1/states/00000001.npz").unlink()
    assert command("merge", other, "--out", tmp_path / "refused") == 1
    assert contents(tmp_path / "merged") == merged


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sampler", "multispin_heat_bath", "--num-chains", "3"], "num_chains: expected a multiple of 32"),
        (["--model", "triangular", "--sampler", "multispin_heat_bath"], "lattice: expected a hypercubic lattice"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(arguments, message, tmp_path, capsys):
    assert command("sample", "--out", tmp_path / "out", *PLAN, *arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [["--temperatures", "0"], ["--temperatures", "nan"], ["--size", "0"], ["--until", "-1"], ["--num-samples", "1.5"]],
)
def test_bad_numbers_are_refused(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        command("sample", "--out", tmp_path / "out", *PLAN, *arguments)
    assert stopped.value.code == 2
    assert "expected" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ising", "triangular", "glass"])
@pytest.mark.parametrize("sampler", ["heat_bath", "metropolis", "wolff", "swendsen_wang"])
def test_every_model_goes_with_every_sampler(model, sampler, tmp_path):
    options = [*SIZE, "--temperatures", "3", "--num-samples", "8", "--num-chains", "2", "--thin", "3"]
    assert command("sample", "--out", tmp_path, "--model", model, "--sampler", sampler, *options) == 0
    assert command("verify", tmp_path) == 0
    assert store.SampleStore(tmp_path / "T=3,seed=0").read().shape == (2, 8, 4, 4)
