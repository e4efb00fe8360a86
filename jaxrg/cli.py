"""The command line: ``jaxrg demo``."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jaxrg

WORKED, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
_AGAIN = "interrupted; run the same command again to go on"
_KEPT = "what is finished is kept; the same command goes on from there"


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
    return top


def _words(error: BaseException) -> str:
    """The first line of an error; of the operating system's, what is wrong and where."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _stop(status: int, message: str) -> int:
    """Say why on one line of the standard error, if anybody can read it."""
    try:
        from jaxrg.progress import terminal

        line = f"jaxrg demo: {' '.join(message.split())}"
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
def _leaving_at_once() -> Iterator[None]:
    """A context in which Ctrl-C ends the process: raised inside an import it is swallowed, or aborts an extension."""

    def leave(*_: object) -> None:
        # Nothing is open yet that would have to be closed.
        os.write(2, f"jaxrg demo: {_AGAIN}\n".encode())
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
    try:
        with _leaving_at_once():
            import jax  # takes seconds, which --help need not wait for

            from jaxrg.demo import run_demo
            from jaxrg.store import FolderError

            jax.devices()
    except (ImportError, RuntimeError) as error:
        return _stop(REFUSED, f"{_words(error)}; expected jaxrg and its dependencies installed, and a device for JAX")
    # What Orbax logs of an error, with the traceback of its thread, it raises as well.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    try:
        with _no_interrupt_lost():
            run_demo(chosen.out, seed=chosen.seed, is_smoke=chosen.smoke)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (FolderError, ModuleNotFoundError) as error:
        return _stop(REFUSED, _words(error))
    except OSError as error:
        return _stop(FAILED, f"{_words(error)}; {_KEPT}")
    except ValueError as error:
        return _stop(FAILED, _words(error))
    except SystemExit:  # of rich, when a pipe is closed at its other end
        return _stop(FAILED, f"nobody reads the output any more; {_KEPT}")
    except KeyboardInterrupt:
        return _stop(INTERRUPTED, _AGAIN)
    finally:
        _let_go_of_output()
    return WORKED
