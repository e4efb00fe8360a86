"""What the values at a site are: signs, q states, angles on a circle, unit vectors on a sphere."""

from jaxrg.models.sites.circle import Circle
from jaxrg.models.sites.discrete import Signs, States
from jaxrg.models.sites.sphere import Sphere

__all__ = ["Circle", "Signs", "Sphere", "States"]
