"""The sparsest split of a game into AND and OR interactions, with a proof of how sparse."""

from jaxrg.interactions.and_or.extraction import AndOr, ExtractionError, extract, solve

__all__ = ["AndOr", "ExtractionError", "extract", "solve"]
