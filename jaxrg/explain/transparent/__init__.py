"""Models that explain themselves: monotone, additive and case-based ones."""

__all__: list[str] = []
