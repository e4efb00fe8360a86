"""Network dissection: which concepts single units of a layer detect."""

__all__: list[str] = []
