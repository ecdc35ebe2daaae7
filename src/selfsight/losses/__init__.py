"""The losses as plain functions, one file each, in their papers' symbols.

    from selfsight.losses import nt_xent_loss
    loss = nt_xent_loss(first, second, temperature=0.2)

They know of no method, optimizer or process group (`targets` and `pseudo_labels` average over all
processes); the fast forms and their hand-written gradients are in `selfsight.kernels`.
"""

from selfsight.losses.barlow_twins import barlow_twins_loss
from selfsight.losses.dino import dino_loss
from selfsight.losses.nt_xent import nt_xent_loss
from selfsight.losses.pseudo_labels import (
    fairness_loss,
    fixmatch_loss,
    freematch_loss,
    freematch_thresholds,
)
from selfsight.losses.same_class import (
    same_class_correlation_loss,
    same_class_weights,
    supcon_loss,
)
from selfsight.losses.targets import mean_over_known, target_losses
from selfsight.losses.vicreg import vicreg_loss

__all__ = [
    "barlow_twins_loss",
    "dino_loss",
    "fairness_loss",
    "fixmatch_loss",
    "freematch_loss",
    "freematch_thresholds",
    "mean_over_known",
    "nt_xent_loss",
    "same_class_correlation_loss",
    "same_class_weights",
    "supcon_loss",
    "target_losses",
    "vicreg_loss",
]
