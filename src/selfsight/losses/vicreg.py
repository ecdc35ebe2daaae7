"""The loss of VICReg: invariance, variance and covariance."""

from __future__ import annotations

from torch import Tensor

from selfsight.kernels.covariance import VarianceInvarianceCovariance, plain_terms
from selfsight.kernels.differentiable import transformed
from selfsight.kernels.precision import full_precision
from selfsight.losses.checks import check_pair, check_positive, check_weight


@full_precision
def vicreg_loss(
    first: Tensor,
    second: Tensor,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    eps: float = 1e-4,
) -> dict[str, Tensor]:
    """VICReg (arXiv:2105.04906, eq. 1-6), with the constants of the authors' code.

    ``lambda s + mu v + nu c``: s the mean squared difference (over N and D; eq. 5 divides by N
    alone), v the mean over D of ``max(0, 1 - sqrt(Var + eps))`` averaged over the two views (eq. 6
    adds them), c the sum over the views of the squared off-diagonal covariances over D (eq. 3, 4).

    All derivatives are exact, under `torch.func` (``grad``, ``vmap``, ``hessian``) too; a second
    derivative and a transform of `torch.func` build the D x D matrices. In fp32 the fourth power
    of an embedding must fit the range: embeddings up to 1e9 in size.

    Args:
        first: ``(N, D)`` embeddings of one view.
        second: ``(N, D)`` embeddings of the other view of the same images.
        invariance_weight: lambda.
        variance_weight: mu.
        covariance_weight: nu.
        eps: added to the variances.

    Returns:
        ``loss`` and its terms ``invariance``, ``variance`` and ``covariance``, 0-d tensors.

    Raises:
        ValueError: shapes that do not match, fewer than two images, a negative weight, or eps not
            above 0.
    """
    check_pair("vicreg_loss", first, second)
    check_weight("vicreg_loss", "invariance_weight", invariance_weight)
    check_weight("vicreg_loss", "variance_weight", variance_weight)
    check_weight("vicreg_loss", "covariance_weight", covariance_weight)
    check_positive("vicreg_loss", "eps", eps)
    if transformed():
        invariance, variance, covariance = plain_terms(first, second, eps)
    else:
        invariance, variance, covariance = VarianceInvarianceCovariance.apply(  # type: ignore[no-untyped-call]
            first, second, eps
        )
    loss = (
        invariance_weight * invariance + variance_weight * variance + covariance_weight * covariance
    )
    return {"loss": loss, "invariance": invariance, "variance": variance, "covariance": covariance}
