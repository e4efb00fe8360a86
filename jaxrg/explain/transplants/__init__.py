"""Transfer of layers between networks: transplanted, frozen or trained on."""

__all__: list[str] = []
