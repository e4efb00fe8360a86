"""``python -m benchmarks AREA [--quick] [--json FILE]``: speed against a peer, printed and written as JSON."""

import argparse
import importlib
import json
import os
import platform
from pathlib import Path

AREAS = ("samplers", "rbm", "interactions", "flows", "explain", "rg", "errors", "first_calls")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, within two minutes")
    parser.add_argument("--json", type=Path, help="write the records and the machine to this file, and plots beside it")
    chosen = parser.parse_args()
    if chosen.json is not None and not chosen.json.parent.is_dir():
        parser.error(f"--json: expected a file in an existing folder, got {chosen.json}")
    area = importlib.import_module(f"benchmarks.{chosen.area}")
    records = area.run(quick=chosen.quick)
    for record in records:
        beside = f"{record['peer']}: {record['peer_value']:.4g}" if record["peer"] else ""
        ratio = "" if record["ratio"] is None else f", ratio {record['ratio']:.2f}"
        print(f"{record['name']:<36} {record['value']:>10.4g} {record['unit']:<18} {beside}{ratio}")
    if chosen.json is not None:
        import jax

        machine = {
            "device": jax.devices()[0].device_kind,
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "jax": jax.__version__,
            "quick": chosen.quick,
        }
        chosen.json.write_text(json.dumps({"machine": machine, "records": records}, indent=1) + "\n")
        if not chosen.quick and hasattr(area, "plots"):
            area.plots(chosen.json.parent)


if __name__ == "__main__":
    main()
