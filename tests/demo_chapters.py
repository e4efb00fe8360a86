"""Results of the seven chapters of the demo as a run would store them, small and made by hand."""

from typing import Any

NAMES = ("nearest_neighbour", "plaquette")


def thermodynamics(z: float = 0.5, error: float = 0.1) -> dict[str, Any]:
    def quantity(is_scored: bool) -> dict[str, Any]:
        found = {"value": 0.9, "error": error, "tau_int": 2.0, "tau_int_error": 0.2, "is_converged": True}
        return found | ({"exact": 0.85, "z": z} if is_scored else {})

    rows = []
    for side, temperature in ((8, 2.0), (8, 2.5), (4, 2.25)):
        for method in ("wolff", "heat_bath"):
            quantities = {name: quantity(True) for name in ("energy", "specific_heat")}
            quantities |= {name: quantity(side == 4) for name in ("abs_magnetization", "binder")}
            rows.append({"side": side, "temperature": temperature, "method": method, "quantities": quantities})
    return {"rows": rows, "scale": {"side": 8}}


def exact_map(kl: float = 0.1, difference: float = 1e-15) -> dict[str, Any]:
    names = ("jensen_gap", "free_energy_difference", "log_mean_rho", "log_rho_mean", "log_rho_std", "log_rho_max")
    names += ("normalized_kernel_log_rho_max", "normalized_kernel_free_energy_difference")
    report = dict.fromkeys(names, 0.25) | {"hamiltonian_difference": difference}
    report |= {"hamiltonian_rg": [-1.0, 2.0], "hamiltonian_rbm": [-1.0, 2.0]}
    return {
        "shape": [2, 2],
        "num_hidden": 2,
        "before": report | {"kl": 1.0},
        "after": report | {"kl": kl},
        "kl_curve": [1.0, kl],
        "kl_curve_stride": 10,
        "log_rho_histogram": {"counts": [0.5, 0.5], "edges": [-1.0, 0.0, 1.0]},
        "fixtures": {"bond_machine_kl": 1e-16, "bond_machine_log_rho_std": 1e-16},
    }


def stack(radius: float = 1.0, control_radius: float = 2.0, overlap: float = 0.25) -> dict[str, Any]:
    def level(radius: float) -> dict[str, Any]:
        return {
            "num_units": 2,
            "num_live_units": 2,
            "radius": radius,
            "radius_error": 0.1,
            "participation": 4.0,
            "participation_error": 0.5,
            "uniform_radius": 3.0,
        }

    image = [[1.0, -1.0], [0.5, 0.0]]
    return {
        "coupling": 0.4,
        "side": 2,
        "layer_sizes": [4, 2],
        "num_samples": 10,
        "num_epochs": 1,
        "l1_strength": 0.1,
        "levels": [level(radius)],
        "control_levels": [level(control_radius)],
        "reconstruction": {
            "num_samples": 10,
            "overlap": overlap,
            "overlap_error": 0.003,
            "magnetization_correlation": 0.9,
            "originals": [image],
            "means": [image],
        },
        "control_reconstruction_overlap": 0.25,
        "control_reconstruction_overlap_error": 0.004,
        "control_magnetization_correlation": 0.8,
        "control_means": [image],
        "fields": [[image, image]],
        "control_fields": [[image, image]],
    }


def block_spins(
    blocked: float = 0.3, plaquette: float = 0.05, z: float = 1.0, y_h: float = 1.8752, off_critical: float = 1.7
) -> dict[str, Any]:
    errors = dict.fromkeys(NAMES, 0.01)
    finest = {"side": 8, "couplings": {NAMES[0]: 0.41, NAMES[1]: 0.001}, "errors": errors}
    finest |= {"exact": {NAMES[0]: 0.4, NAMES[1]: 0.0}, "z": dict.fromkeys(NAMES, z)}
    coarse = {"side": 4, "couplings": {NAMES[0]: blocked, NAMES[1]: plaquette}, "errors": errors}
    levels = [finest, coarse]

    def exponents(y_h: float) -> list[dict[str, float]]:
        return [{"side": 4, "thermal": 0.99, "thermal_error": 0.01, "magnetic": y_h, "magnetic_error": 0.001}]

    chapter = {"coupling": 0.4, "num_samples": 10, "levels": levels, "picture": [[[1, -1], [1, 1]], [[1]]]}
    critical = {"levels": levels, "exponents": exponents(y_h)}
    return chapter | {"exponents": exponents(off_critical), "critical": critical}


def interactions(orders=(3.0, 2.0, 2.9), control=(3.0, 2.9, 2.95), difference: float = 1e-15) -> dict[str, Any]:
    def run(orders) -> dict[str, Any]:
        return {
            "spectra": [[1.0, 1.0]] * 3,
            "mean_order": list(orders),
            "mean_order_error": [0.1] * 3,
            "train_loss": [2.0, 1.0, 0.1],
            "test_loss": [2.0, 1.1, 1.5],
            "test_accuracy": [0.1, 0.5, 0.6],
        }

    names = ("dividend_difference", "translated_difference", "projection_difference")
    return {
        "digits": run(orders),
        "shuffled_labels": run(control),
        "blocks": {"ising": {"neighbour": 0.5}, "lattice_gas": {"neighbour": 2.0}} | dict.fromkeys(names, difference),
        "epochs": [0, 1, 10],
        "num_train": 10,
        "num_explained": 2,
        "num_players": 2,
        "spindle": [1.0, 1.0],
    }


def backwards(z: float = 0.5, radius: float = 1.5, variance: float = 1.01, is_converged: bool = True) -> dict[str, Any]:
    def sampler(side: int) -> dict[str, Any]:
        return {
            "side": side,
            "log_partition": 15.2,
            "exact_log_partition": 15.15,
            "error": 0.1,
            "z": z,
            "is_converged": is_converged,
            "num_draws": 1000,
            "ess": 0.9,
            "tail_index": 0.1,
            "kl": 0.05,
            "kl_error": 0.01,
            "log_weight_histogram": {"counts": [0.25, 0.75], "edges": [-1.0, 0.0, 1.0]},
        }

    def level(radius: float) -> dict[str, Any]:
        moments = {"mean": [0.0, 0.1], "variance": [variance, 0.02], "excess_kurtosis": [0.1, 0.2]}
        image = [[0.5, 1.0], [0.0, 0.25]]
        reach = {"radius": radius, "radius_error": 0.1, "field": image, "untrained_radius": 0.2}
        return moments | reach | {"num_latents": 3, "site": 1}

    energy = {"energy": -1.4, "energy_error": 0.01, "exact_energy": -1.405, "energy_z": z}
    spins = sampler(4) | energy | {"num_levels": 1, "pictures": [[[1, -1, 1, 1]] * 4]}
    flow = {"num_fields": 10, "forward_kl": 0.1, "forward_kl_error": 0.02}
    return {"coupling": 0.4, "spins": spins, "fields": sampler(2) | flow | {"levels": [level(0.5), level(radius)]}}


def readable(best: float = 0.95, top: float = 0.96, mmd: float = 0.01) -> dict[str, Any]:
    def level(accuracy: float, modulus: float) -> dict[str, Any]:
        values = {"temperature": 0.8, "energy": 0.9, "modulus": modulus, "magnetization": 1.0}
        errors = dict.fromkeys(values, 0.01)
        numbers = {"num_features": 4, "accuracy": accuracy, "accuracy_error": 0.01}
        return numbers | {"r_squared": values, "r_squared_error": errors}

    example = {"picture": [[1, -1], [1, 1]], "temperature": 2.0, "energy": -1.0, "magnetization": 0.5}
    return {
        "side": 2,
        "num_temperatures": 3,
        "num_train": 12,
        "num_test": 6,
        "num_epochs": 1,
        "levels": [level(0.6, 0.0), level(best, 0.9), level(0.9, top)],
        "control_levels": [level(0.6, 0.0), level(0.9, 0.85), level(0.85, 0.8)],
        "ceiling": {"accuracy": 0.96, "temperature": 0.93},
        "examples": {
            "num_points": 12,
            "mmd_squared": mmd,
            "random_mmd_squared": 0.05,
            "random_mmd_squared_error": 0.01,
            "smallest_random_mmd_squared": 0.02,
            "num_random": 5,
            "prototypes": [example] * 6,
            "criticisms": [example] * 2,
        },
    }


def chapters() -> dict[str, Any]:
    """All of them, by name."""
    made = (thermodynamics, exact_map, stack, block_spins, interactions, backwards, readable)
    return {chapter.__name__: chapter() for chapter in made}
