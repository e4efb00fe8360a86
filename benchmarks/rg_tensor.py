"""Tensor renormalisation of the Ising model: errors, seconds beside plain NumPy, growth with χ, derivatives."""

import functools
import itertools
import math
import resource
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import numpy_btrg, tenax_trg
from benchmarks.timing import medians, record
from jaxrg import exact, lattice, models
from jaxrg.rg import tensor as networks

Record = dict[str, Any]
NUM_STEPS = 30  # a torus of 2^30 spins
LOOP_STEPS = 38  # a torus of 2^39, whose size is beyond the errors
DIMENSIONS = (1 / 8, 1, 9 / 8, 9 / 8, 2, 2, 2, 2)
OFF_CRITICAL = 0.42
ORDERED, FIELD = 0.5, 1e-7
QUARTIC = 0.022
CUBIC_TEMPERATURE = 4.5115
CUBIC_SERIES = -3.50835825  # free energy per spin at that temperature


def log_partition(scheme: Any, chi: int, coupling: Any) -> jax.Array:
    return scheme(networks.ising_tensor(coupling), chi, NUM_STEPS).log_partition[-1]


def compiled(scheme: Any, chi: int) -> Any:
    """Waits for the number, as a user does."""
    fn = jax.jit(functools.partial(log_partition, scheme, chi))
    return lambda coupling=exact.critical_coupling: float(fn(jnp.float64(coupling)))


def relative_error(scheme: Any, chi: int) -> float:
    truth = float(exact.onsager_free_energy(jnp.float64(exact.critical_coupling)))
    return abs(compiled(scheme, chi)() / truth - 1)


def errors(sizes: dict[str, tuple[int, ...]]) -> list[Record]:
    schemes = {"trg": networks.trg, "btrg": networks.btrg, "hotrg": networks.hotrg}
    return [
        record(f"{name}_chi{chi}_relative_error", relative_error(schemes[name], chi), "of ln z at Kc")
        for name, values in sizes.items()
        for chi in values
    ]


def beside_numpy(chi: int, repeats: int) -> list[Record]:
    own, peer = compiled(networks.btrg, chi), lambda: numpy_btrg.ising_log_partition(kc, chi, NUM_STEPS)
    kc = exact.critical_coupling
    assert abs(own() - peer()) < 1e-9
    seconds = medians({"own": own, "peer": peer}, repeats=repeats)
    return [
        record(
            f"btrg_chi{chi}_vs_numpy",
            seconds["own"],
            "s",
            peer="plain NumPy",
            peer_value=seconds["peer"],
            ratio=seconds["peer"] / seconds["own"],
        )
    ]


def beside_tenax(scheme: str, chi: int, repeats: int) -> list[Record]:
    """Seconds, and errors without a ratio, of the same scheme, legs and steps."""
    own, kc = compiled(getattr(networks, scheme), chi), float(exact.critical_coupling)
    name, calls = "tenax-tn", {"own": own}
    try:
        calls["peer"] = tenax_trg.ising_log_partition(scheme, kc, chi, NUM_STEPS)
    except ImportError:
        name = "tenax-tn is not installed"
    truth = float(exact.onsager_free_energy(jnp.float64(kc)))
    seconds = medians(calls, repeats=repeats)
    misses = {each: abs(call() / truth - 1) for each, call in calls.items()}
    return [
        record(
            f"{scheme}_chi{chi}_{what}vs_tenax",
            values["own"],
            unit,
            peer=name,
            peer_value=values.get("peer"),
            ratio=values["peer"] / values["own"] if "peer" in values and not what else None,
        )
        for what, values, unit in (("", seconds, "s"), ("error_", misses, "of ln z at Kc"))
    ]


def growth(sizes: tuple[int, ...], repeats: int) -> list[Record]:
    """Exponents of the seconds of TRG between the sizes and their largest."""
    seconds = medians({str(chi): compiled(networks.trg, chi) for chi in sizes}, repeats=repeats)
    return [
        record(
            f"trg_growth_chi{low}_to_{high}",
            math.log(seconds[str(high)] / seconds[str(low)]) / math.log(high / low),
            f"exponent; {seconds[str(high)]:.3g} s",
        )
        for low, high in itertools.pairwise(sizes)
    ]


def derivatives(chi: int, repeats: int) -> list[Record]:
    """Energy and specific heat off the critical point by forward derivatives, and their cost in free energies."""
    value = functools.partial(log_partition, networks.btrg, chi)

    def first(coupling: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(value, (coupling,), (jnp.ones_like(coupling),))

    def second(coupling: jax.Array) -> Any:
        return jax.jvp(first, (coupling,), (jnp.ones_like(coupling),))

    programs = {"value": jax.jit(value), "first": jax.jit(first), "second": jax.jit(second)}
    coupling = jnp.float64(OFF_CRITICAL)
    calls = {
        name: functools.partial(lambda fn: jax.block_until_ready(fn(coupling)), fn) for name, fn in programs.items()
    }
    seconds = medians(calls, repeats=repeats)
    energy, curvature = -programs["first"](coupling)[1], programs["second"](coupling)[1][1]
    heat = coupling**2 * curvature
    found = [
        ("energy", float(energy / exact.onsager_energy(coupling) - 1), "first"),
        ("specific_heat", float(heat / exact.onsager_specific_heat(coupling) - 1), "second"),
    ]
    return [
        made
        for name, error, order in found
        for made in (
            record(f"btrg_chi{chi}_{name}_relative_error", abs(error), f"at K = {OFF_CRITICAL}"),
            record(f"btrg_chi{chi}_{name}_cost", seconds[order] / seconds["value"], "free energies"),
        )
    ]


def magnetization(chi: int) -> list[Record]:
    """The derivative by a field that aligns the torus, h N = 107, and hardly polarises its spins."""

    @jax.jit
    def of_field(field: jax.Array) -> jax.Array:
        def value(h: jax.Array) -> jax.Array:
            return networks.btrg(networks.ising_tensor(ORDERED, field=h), chi, NUM_STEPS).log_partition[-1]

        return jax.jvp(value, (field,), (jnp.ones_like(field),))[1]

    error = float(of_field(jnp.float64(FIELD)) / exact.yang_magnetization(ORDERED) - 1)
    return [record(f"btrg_chi{chi}_magnetization_relative_error", abs(error), f"at K = {ORDERED}, h = {FIELD}")]


def field(chi: int, num_legs: int) -> list[Record]:
    """A free field on the infinite lattice, and where an interacting one orders: a flow ends with one phase or two."""
    square, mass, kinetic = lattice.hypercubic((2, 2)), 1.5, 0.4
    momenta = 2 - 2 * np.cos(2 * np.pi * np.arange(256) / 256)
    energies = mass + kinetic * (momenta[:, None] + momenta[None, :])
    truth = 0.5 * (math.log(math.pi) - np.mean(np.log(energies)))
    free = networks.phi4_tensor(models.Phi4(square, jnp.float64(mass), 0.0, kinetic), num_legs)
    error = abs(float(networks.btrg(free, chi, NUM_STEPS).log_partition[-1]) - truth)

    @jax.jit
    def num_phases(kappa: jax.Array) -> jax.Array:
        tensor = networks.phi4_tensor(models.kappa_phi4(square, kappa, QUARTIC), num_legs)
        matrix = jnp.trace(networks.btrg(tensor, chi, NUM_STEPS).tensor.entries, axis1=0, axis2=2)
        return jnp.trace(matrix) ** 2 / jnp.trace(matrix @ matrix)

    low, high = 0.26, 0.28
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (low, middle) if float(num_phases(jnp.float64(middle))) > 1.5 else (middle, high)
    return [
        record(f"free_field_chi{chi}_legs{num_legs}_error", float(error), f"of ln z at m² = {mass}, k = {kinetic}"),
        record(f"phi4_chi{chi}_critical_kappa", low, f"at λ = {QUARTIC}; 0.27088 known"),
    ]


def loops(sizes: tuple[int, ...], num_steps: int) -> list[Record]:
    """Optimised loops: the error at the critical point with the seconds of a warm run, and the best of them."""
    truth = float(exact.onsager_free_energy(jnp.float64(exact.critical_coupling)))
    tensor, errors, records = networks.ising_tensor(jnp.float64(exact.critical_coupling)), [], []
    for chi in sizes:
        flow = functools.partial(networks.loop_tnr, tensor, chi, num_steps)
        jax.block_until_ready(flow())
        start = time.perf_counter()
        errors.append(abs(float(flow().log_partition[-1]) / truth - 1))
        seconds = time.perf_counter() - start
        records.append(record(f"loop_tnr_chi{chi}_relative_error", errors[-1], f"of ln z at Kc; {seconds:.3g} s"))
    return [*records, record("best_tensor_rg_relative_error", min(errors), "of ln z at Kc")]


def levels(chi: int, num_steps: int) -> list[Record]:
    """Dimensions and central charge where a flow of optimised loops is flattest, on rings of four tensors."""
    tensor = networks.ising_tensor(jnp.float64(exact.critical_coupling))
    observe = functools.partial(networks.transfer_spectrum, num_levels=9, num_tensors=4)
    found = networks.loop_tnr(tensor, chi, num_steps, observe=observe).observed
    flat = [float(networks.plateau(found.dimensions[:, level]).value) for level in range(1, 9)]
    errors = [abs(value / exactly - 1) * 100 for value, exactly in zip(flat, DIMENSIONS, strict=True)]
    charge = float(networks.plateau(found.central_charge).value)
    return [
        record("scaling_dimensions_worst_percent", max(errors[:4]), f"%, first four at χ = {chi}"),
        record("scaling_dimensions_of_two_worst_percent", max(errors[4:]), f"%, the four at 2, χ = {chi}"),
        record("central_charge_error", abs(charge - 0.5), f"c = {charge:.6f}, χ = {chi}"),
    ]


def fixed_point(chi: int, num_flow: int, num_steps: int, num_states: int) -> list[Record]:
    """Newton steps to a residual of 1e-10, nan where they do not get there; and the local operators at rest."""
    tensor = networks.ising_tensor(jnp.float64(exact.critical_coupling))
    start = networks.loop_tnr(tensor, chi, num_flow).tensor
    found = networks.fixed_tensor(start, num_steps=num_steps)
    residuals = found.residuals.tolist()
    steps = next((step for step, value in enumerate(residuals) if value < 1e-10), math.nan)
    local = networks.dilatation_spectrum(found.tensor, 9, num_states=num_states).dimensions[1:]
    errors = [abs(float(value) / exactly - 1) * 100 for value, exactly in zip(local, DIMENSIONS, strict=True)]
    product = float(networks.operator_products(found.tensor, 3, num_states=num_states).coefficients[2, 1, 1])
    unit = f"χ = {chi}, {num_states} states of a pair"
    return [
        record("fixed_point_newton_steps", steps, f"to 1e-10 at χ = {chi}; last residual {residuals[-1]:.2g}"),
        record("dilatation_dimensions_worst_percent", max(errors[:4]), f"%, first four, {unit}"),
        record("dilatation_dimensions_of_two_worst_percent", max(errors[4:]), f"%, the four at 2, {unit}"),
        record("operator_product_error", abs(product - 0.5), f"C_εσσ = {product:.5f}, {unit}"),
    ]


def cubic(chi: int) -> list[Record]:
    """HOTRG in three dimensions, with the seconds of a warm run and the most memory the process has held."""
    flow = functools.partial(networks.hotrg, chi=chi, num_steps=NUM_STEPS)
    tensor = networks.ising_tensor(jnp.float64(1 / CUBIC_TEMPERATURE), ndim=3)
    jax.block_until_ready(flow(tensor))
    start = time.perf_counter()
    found = -CUBIC_TEMPERATURE * float(flow(tensor).log_partition[-1])
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [
        record(f"hotrg_3d_chi{chi}_relative_error", abs(found / CUBIC_SERIES - 1), f"of f = {found:.6f}"),
        record(f"hotrg_3d_chi{chi}_seconds", seconds, "s"),
        record(f"hotrg_3d_chi{chi}_memory", memory, "GiB, the process"),
    ]


def run(*, quick: bool) -> list[Record]:
    """All in float64, warm; the quick one has smaller legs."""
    with jax.enable_x64(True):
        if quick:
            return [
                *errors({"trg": (8,), "btrg": (8,), "hotrg": (8,)}),
                *beside_numpy(8, 3),
                *beside_tenax("trg", 4, 3),
                *growth((4, 8), 3),
                *derivatives(6, 3),
                *magnetization(6),
                *field(6, 6),
                *cubic(4),
                *loops((4,), 12),
                *levels(4, 8),
                *fixed_point(4, 8, 8, 8),
            ]
        return [
            *errors({"trg": (8, 16, 24), "btrg": (8, 16, 24), "hotrg": (8, 12)}),
            *beside_numpy(16, 5),
            *beside_numpy(24, 3),
            *beside_tenax("trg", 16, 5),
            *beside_tenax("trg", 24, 3),
            *beside_tenax("hotrg", 12, 5),
            *growth((8, 16, 24, 32, 48), 3),
            *derivatives(24, 3),
            *magnetization(24),
            *field(16, 12),
            *cubic(8),
            *loops((8, 12, 16, 20), LOOP_STEPS),
            *levels(10, 16),
            *fixed_point(8, 14, 8, 24),
        ]
