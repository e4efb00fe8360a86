"""Prototypes and criticisms: examples that stand for a data set, and those that these miss."""

__all__: list[str] = []
