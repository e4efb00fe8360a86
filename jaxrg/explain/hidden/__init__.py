"""Hidden layers of any function: its values inside, read and set, and its derivatives under other rules."""

__all__: list[str] = []
