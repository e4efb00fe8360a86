"""Linear probes to a certified optimum, with the controls that say what they prove.

That something can be read from a representation is no proof that the network uses it, nor that the network made it: a
probe stands beside chance (an infinite penalty), the same probe of the untrained network, a control task
(`control_labels`), its code length, and an intervention on what is read (`intervene`, `erase`).
"""

from jaxrg.explain.probes.controls import CodeLength, code_length, control_labels, rank_limited_probes
from jaxrg.explain.probes.interventions import Eraser, concept_eraser, erase, intervene
from jaxrg.explain.probes.logistic import LogisticProbes, logistic_probes
from jaxrg.explain.probes.ridge import RidgeProbes, ridge_probes
from jaxrg.explain.probes.scores import (
    ClassificationScores,
    RegressionScores,
    classification_scores,
    regression_scores,
)

__all__ = [
    "ClassificationScores",
    "CodeLength",
    "Eraser",
    "LogisticProbes",
    "RegressionScores",
    "RidgeProbes",
    "classification_scores",
    "code_length",
    "concept_eraser",
    "control_labels",
    "erase",
    "intervene",
    "logistic_probes",
    "rank_limited_probes",
    "regression_scores",
    "ridge_probes",
]
