"""The loss of DINO: a student predicts what its teacher says of other views."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from selfsight.kernels.cross_entropy import CrossEntropy
from selfsight.kernels.precision import full_precision


@full_precision
def dino_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    centre: Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float | Tensor = 0.04,
) -> Tensor:
    """Self-distillation (arXiv:2104.14294, eq. 1-3), averaged over pairs of different views.

    ``H(P_t, P_s) = -sum_k P_t log P_s`` with ``P_t = softmax((g_t - c) / t_t)`` and ``P_s =
    softmax(g_s / t_s)``, over every teacher view t and every student view s other than t. Since
    ``H = logsumexp(g_s / t_s) - <P_t, g_s / t_s>`` and the second part is linear in P_t, each
    student view meets the sum of its teachers once.

    Args:
        student: V logits ``(B, K)``; the first ``len(teacher)`` are of the teacher's views.
        teacher: G logits ``(B, K)``; no gradient flows into them.
        centre: ``(K,)`` or ``(1, K)``.
        student_temperature: t_s.
        teacher_temperature: t_t.

    Returns:
        The loss, a 0-d tensor.
    """
    total: Tensor = CrossEntropy.apply(  # type: ignore[no-untyped-call]
        len(student), student_temperature, teacher_temperature, centre, *student, *teacher
    )
    return total
