"""What the first call of every public function costs: seconds in a process that has compiled nothing.

Every call runs in a fork of one process that has imported jaxrg and compiled nothing, one at a time, with its arguments
made in advance; imports are apart.
"""

import multiprocessing
import statistics
import time

from benchmarks.calls import Call, calls_of, rooms

QUICK_ROOMS = ("exact", "transforms")


def _time(call: Call, answers) -> None:
    import jax

    arguments = jax.block_until_ready(call.arguments(0))
    again = call.arguments(1)
    jax.clear_caches()
    start = time.perf_counter()
    call(arguments)
    first = time.perf_counter() - start
    start = time.perf_counter()
    call(again)
    answers.put((first, time.perf_counter() - start))


def seconds(call: Call) -> tuple[float, float]:
    """Of the first call and of the second, with new values."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_time, args=(call, answers))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{call.name}: exit code {process.exitcode}")
    return answers.get()


def run(*, quick: bool) -> list[dict]:
    """Print every function; the slowest first call and the median as records."""
    calls = [call for room in rooms() if not quick or room in QUICK_ROOMS for call in calls_of(room)]
    found = {}
    for call in calls:
        _ = call.fn  # its room is imported here, not in the fork
        found[call.name] = seconds(call)
        print(
            f"{call.name:<52} first {found[call.name][0]:>7.3f} s, second {1e3 * found[call.name][1]:>9.2f} ms",
            flush=True,
        )
    first = {name: pair[0] for name, pair in found.items()}
    slowest = max(first, key=first.__getitem__)
    print(f"slowest: {slowest}")

    def record(name: str, value: float) -> dict:
        return {"name": name, "value": value, "unit": "s", "peer": None, "peer_value": None, "ratio": None}

    return [
        record("first_call_worst_seconds", first[slowest]),
        record("first_call_median_seconds", statistics.median(first.values())),
        record("second_call_worst_seconds", max(pair[1] for pair in found.values())),
    ]
