"""The command line: ``jaxrg demo``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jaxrg


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer from 0 to 2**32 - 1, got {text!r}") from None
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"expected an integer from 0 to 2**32 - 1, got {value}")
    return value


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    top = argparse.ArgumentParser(prog="jaxrg", description=jaxrg.__doc__)
    top.add_argument("--version", action="version", version=f"jaxrg {jaxrg.__version__}")
    commands = top.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="sample the Ising model, train Boltzmann machines on it, renormalise it, and write a page about it",
        description="From samples to a renormalised Hamiltonian in about 10 minutes on two cores. Interrupt it with "
        "Ctrl-C and run the same command to go on.",
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder of this run (default: %(default)s)")
    demo.add_argument("--smoke", action="store_true", help="tiny sizes, under 90 seconds")
    demo.add_argument("--seed", type=_seed, default=0, help="seed of all random numbers (default: %(default)s)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it worked, 2 for bad arguments, 130 after Ctrl-C."""
    chosen = parser().parse_args(arguments)
    from jaxrg.demo import run_demo  # jax takes seconds to import; --help should not
    from jaxrg.store import FolderError

    try:
        run_demo(chosen.out, seed=chosen.seed, is_smoke=chosen.smoke)
    except (FolderError, ModuleNotFoundError) as error:
        print(f"jaxrg demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\njaxrg demo: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return 0
