"""Information inside networks: exact entropies by counting, bounds with noise, and what binning makes of them."""

__all__: list[str] = []
