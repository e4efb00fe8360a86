"""Sizes of the study of filters."""

from typing import NamedTuple


class Scale(NamedTuple):
    """Size of the study."""

    num_configurations: int  # of a strip
    num_epochs: int
    num_gaussian: int  # steps
    num_coverings: int  # times 128 chains
    spacing: int  # of windows in a picture
    widths: tuple[int, ...]
    num_published: int  # trainings as published
    published_epochs: int


FULL = Scale(16_000, 10, 4_000, 240, 8, (4, 6, 8), 3, 100)
SMOKE = Scale(300, 1, 50, 10, 32, (4,), 1, 1)
