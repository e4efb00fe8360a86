"""What the commands take, and how they end; nothing here imports JAX before the arguments are known to be right."""

import argparse
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jaxrg

WORKED, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
MODELS = ("ising", "triangular", "glass")
SAMPLERS = ("heat_bath", "metropolis", "wolff", "swendsen_wang", "multispin_heat_bath", "multispin_metropolis")
_AGAIN = "interrupted; run the same command again to go on"
_KEPT = "what is finished is kept; the same command goes on from there"


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected an integer >= 1, got {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer from 0 to 2**32 - 1, got {text!r}") from None
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"expected an integer from 0 to 2**32 - 1, got {value}")
    return value


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected a folder, got {text!r}")
    return Path(text)


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
        epilog="Exits with 0 if it worked, 1 if it failed on the way (the same command goes on from there), 2 if it "
        "was refused before any work, 130 after Ctrl-C.",
    )
    demo.add_argument("--out", type=_folder, default=Path("demo"), help="folder of this run (default: %(default)s)")
    demo.add_argument("--smoke", action="store_true", help="tiny sizes, under 90 seconds")
    demo.add_argument("--seed", type=_seed, default=0, help="seed of all random numbers (default: %(default)s)")
    _add_sample(commands)
    _add_verify(commands)
    _add_merge(commands)
    return top


def _add_sample(commands: Any) -> None:
    sample = commands.add_parser(
        "sample",
        help="sample a spin model into a folder that survives a crash",
        description="Sample spins, one bit each, every temperature with random numbers of its own. What is committed "
        "survives a crash at any moment; the same command goes on from there with the very same spins, and does "
        "nothing where all is done. Ends with means and errors.",
        epilog="Exits with 0 if it worked, 1 if it failed on the way (the same command goes on), 2 if it was refused "
        "before any work, 130 after Ctrl-C.",
    )
    shown = "(default: %(default)s)"
    sample.add_argument("--out", type=_folder, default=Path("samples"), help=f"folder of the samples {shown}")
    sample.add_argument(
        "--model",
        choices=MODELS,
        default="ising",
        help=f"Ising on a hypercubic or triangular lattice, or ±J glass {shown}",
    )
    sample.add_argument(
        "--size",
        type=_count,
        nargs="+",
        default=[32, 32],
        metavar="L",
        help="sides of the lattice, which is periodic (default: 32 32)",
    )
    sample.add_argument(
        "--temperatures", type=_positive, nargs="+", required=True, metavar="T", help="in units of the coupling"
    )
    sample.add_argument(
        "--num-samples", type=_count, default=1000, help=f"of every chain in all, those in the folder included {shown}"
    )
    sample.add_argument(
        "--until",
        type=_positive,
        metavar="ERROR",
        help="stop earlier, where the error of the energy per site is below this and can be trusted",
    )
    sample.add_argument("--sampler", choices=SAMPLERS, default="wolff", help=shown)
    sample.add_argument(
        "--num-chains", type=_count, help="at every temperature (default: 1, and 32 of the multispin samplers)"
    )
    sample.add_argument("--thin", type=_count, default=1, help=f"steps from one sample to the next {shown}")
    sample.add_argument("--burn-in", type=_count, default=1000, help=f"steps before the first sample {shown}")
    sample.add_argument("--seed", type=_seed, default=0, help=f"seed of all random numbers {shown}")
    sample.add_argument(
        "--dry-run", action="store_true", help="say what would be done and how many bytes it takes, and write nothing"
    )


def _add_verify(commands: Any) -> None:
    verify = commands.add_parser(
        "verify",
        help="check every byte of a folder of samples, and replay some of them",
        description="Check every file by its SHA-256, compute some commits at random once more and compare them bit "
        "for bit.",
        epilog="Exits with 0 if all is as it was written, 1 if not, 2 if the folder holds no samples.",
    )
    verify.add_argument("folder", type=_folder)
    verify.add_argument(
        "--num-commits", type=_count, default=5, help="to replay of every stream (default: %(default)s)"
    )
    verify.add_argument("--repair", action="store_true", help="put damaged and lost files back by a replay")


def _add_merge(commands: Any) -> None:
    merge = commands.add_parser(
        "merge",
        help="put the streams of several folders into one",
        description="Copy the streams of several folders, each checked byte by byte, into one. Folders with other "
        "physics are refused, and so are streams that share their random numbers.",
    )
    merge.add_argument("folders", type=_folder, nargs="+")
    merge.add_argument("--out", type=_folder, required=True, help="new, empty, or of the same physics")


def _words(error: BaseException) -> str:
    """The first line of an error; of the operating system's, what is wrong and where."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _stop(status: int, command: str, message: str) -> int:
    """Say why on one line of the standard error, if anybody can read it."""
    try:
        from jaxrg.progress import terminal

        line = f"jaxrg {command}: {' '.join(message.split())}"
        if sys.stderr is not None:
            terminal(sys.stderr).print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
    except (OSError, KeyboardInterrupt):
        pass
    return status


def _let_go_of_output() -> None:
    """What could not be written will not be at exit either, where Python would complain about it."""
    if (stream := sys.stdout) is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _leaving_at_once(command: str) -> Iterator[None]:
    """A context in which Ctrl-C ends the process: raised inside an import it is swallowed, or aborts an extension."""

    def leave(*_: object) -> None:
        # Nothing is open yet that would have to be closed.
        os.write(2, f"jaxrg {command}: {_AGAIN}\n".encode())
        os._exit(INTERRUPTED)

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _no_interrupt_lost() -> Iterator[None]:
    """A context in which a Ctrl-C that a callback swallowed, as JAX's of the garbage collector does, comes again."""
    before, timers = sys.unraisablehook, []

    def again(lost: "sys.UnraisableHookArgs") -> None:
        if lost.exc_type is KeyboardInterrupt:
            main_thread = threading.main_thread().ident or 0
            timers.append(threading.Timer(0.05, signal.pthread_kill, (main_thread, signal.SIGINT)))
            timers[-1].start()
        else:
            before(lost)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.join()  # what was lost at the very end comes while it is still waited for


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it worked, 1 if it failed on the way, 2 if it was refused, 130 after Ctrl-C."""
    chosen = parser().parse_args(arguments)
    command, status = chosen.command, WORKED
    try:
        with _leaving_at_once(command):
            import jax  # takes seconds, which --help need not wait for

            from jaxrg.store import DamagedError, FolderError

            if command == "demo":
                from jaxrg.demo.run import run_demo
            else:
                from jaxrg.cli import checking, sampling

            jax.devices()
    except (ImportError, RuntimeError) as error:
        why = f"{_words(error)}; expected jaxrg and its dependencies installed, and a device for JAX"
        return _stop(REFUSED, command, why)
    # What Orbax logs of an error, with the traceback of its thread, it raises as well.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    try:
        with _no_interrupt_lost():
            if command == "demo":
                run_demo(chosen.out, seed=chosen.seed, is_smoke=chosen.smoke)
            else:
                work = {"sample": sampling.sample, "verify": checking.verify, "merge": checking.merge}[command]
                status = WORKED if work(chosen) else FAILED
        if sys.stdout is not None:
            sys.stdout.flush()
    except (FolderError, ModuleNotFoundError) as error:
        return _stop(REFUSED, command, _words(error))
    except OSError as error:
        return _stop(FAILED, command, f"{_words(error)}; {_KEPT}")
    except ValueError as error:
        hint = "; jaxrg verify --repair puts it back" if isinstance(error, DamagedError) else ""
        return _stop(FAILED, command, _words(error) + hint)
    except SystemExit:  # of rich, when a pipe is closed at its other end
        return _stop(FAILED, command, f"nobody reads the output any more; {_KEPT}")
    except KeyboardInterrupt:
        return _stop(INTERRUPTED, command, _AGAIN)
    finally:
        _let_go_of_output()
    return status
