"""Figures: drawn by matplotlib on the host; their own tests give them hostile input."""

_WHY = "a figure, which compiles nothing"

CALLS = []
NOT_CALLED = {
    f"plot.{name}": _WHY
    for name in (
        "block_ladder",
        "couplings_by_level",
        "exact_map",
        "interaction_heat_map",
        "interaction_network",
        "interaction_upset",
        "interaction_waterfall",
        "interactions_through_training",
        "locality_by_level",
        "order_spectrum",
        "receptive_fields",
        "reconstructions",
        "temperature_scan",
    )
}
