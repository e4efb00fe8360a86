"""Numbers with errors as physicists write them: -1.4453(49)."""

import math
from typing import Any

import numpy as np

from jaxrg.checks import is_traced

MAX_PRINTED = 6  # numbers of an array


def concise(value: float, error: float) -> str:
    """The value to two digits of its error, which stands in brackets in units of the last digit.

    Example:
        >>> concise(-1.44532, 0.0049), concise(123.4, 12.0), concise(1234.0, 120.0), concise(0.5, 0.0)
        ('-1.4453(49)', '123(12)', '1230(120)', '0.5(0)')
    """
    if not (math.isfinite(error) and math.isfinite(value) and error > 0):
        return f"{value:.6g}({error:.2g})"
    decimals = 1 - math.floor(math.log10(float(f"{error:.1e}")))  # 0.0996 counts as 0.10
    if decimals <= 0:
        return f"{round(value, decimals):.0f}({round(error, decimals):.0f})"
    return f"{value:.{decimals}f}({round(error * 10**decimals)})"


def written(value: Any, error: Any) -> str:
    """One number, or the first few of an array; those of a trace by their type."""
    if is_traced((value, error)) or not hasattr(value, "shape"):
        return repr(value)
    values, errors = np.asarray(value, np.float64), np.asarray(error, np.float64)
    parts = [concise(float(v), float(e)) for v, e in zip(values.ravel(), errors.ravel(), strict=True)]
    if values.ndim == 0:
        return parts[0]
    shown = parts if len(parts) <= MAX_PRINTED else [*parts[:MAX_PRINTED], "..."]
    return f"[{', '.join(shown)}]" + ("" if values.ndim == 1 else f" of shape {values.shape}")


def described(estimate: Any, value: Any) -> str:
    """An estimate with error, ``tau_int`` and whether it is converged."""
    flags = estimate.is_converged
    if is_traced(flags) or not hasattr(flags, "shape"):
        verdict = repr(flags)
    else:
        flags = np.asarray(flags)
        verdict = "converged" if flags.all() else f"NOT converged{'' if flags.ndim == 0 else f' in {(~flags).sum()}'}"
    times = written(estimate.tau_int, estimate.tau_int_error)
    return f"{type(estimate).__name__}({written(value, estimate.error)}, tau_int {times}, {verdict})"
