"""The Banzhaf interaction index of players who join with a probability of their own."""

from fractions import Fraction

from jaxrg.interactions.indices import interaction_index

JOINING = Fraction(1, 3)


@interaction_index
def weighted_banzhaf_interactions(t: int, s: int, order: int) -> Fraction:
    r"""Weighted Banzhaf interaction index: each player outside S is present with probability p.

    .. math:: \sum_{T \subseteq N\setminus S} p^{|T|} (1-p)^{n-|S|-|T|} \Delta_S v(T)
        = \sum_{T \supseteq S} p^{|T|-|S|} I(T)

    Entry 0 is the formula's, the mean value of the game.

    Reference:
        Marichal & Mathonet, Eur. J. Oper. Res. 211, 352 (2011).
    """
    return JOINING ** (t - s)
