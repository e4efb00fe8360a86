"""Tensor renormalisation: lattice models as networks of one tensor, coarse-grained until one tensor is the lattice.

Under construction: nothing here is public yet.
"""

__all__: list[str] = []
