"""Linear probes to a certified optimum, with the controls that say what they prove."""

__all__: list[str] = []
