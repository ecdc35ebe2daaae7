"""The loss of DINO: a student predicts its teacher's output for other views."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from selfsight.kernels.cross_entropy import CrossEntropy, plain_cross_entropy
from selfsight.kernels.differentiable import anchors, transformed
from selfsight.kernels.precision import full_precision
from selfsight.losses.checks import check_positive, check_views


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
    student view meets the sum of its teachers once. No gradient flows into teacher and centre.

    The gradient is computed with the value and handed over at the first ``backward``. A second
    ``backward`` through the same graph raises `RuntimeError` (except in float64, for
    ``gradcheck``), and a second derivative always does. Under a transform of `torch.func`
    (``grad``, ``vmap``, ``hessian``) a plain form is used, which has all derivatives.

    Args:
        student: V logits ``(B, K)``; the first ``len(teacher)`` are of the teacher's views.
        teacher: G logits ``(B, K)``, at most V.
        centre: ``(K,)`` or ``(1, K)``.
        student_temperature: t_s.
        teacher_temperature: t_t.

    Returns:
        The loss, a 0-d tensor, never negative.

    Raises:
        ValueError: no lists of views of one shape, more teacher than student views, no pair of
            different views, a centre of another width, or a temperature not above 0.
    """
    student = check_views("dino_loss", "student", student)
    teacher = check_views("dino_loss", "teacher", teacher)
    if student[0].shape != teacher[0].shape:
        raise ValueError(
            f"dino_loss: student views are {tuple(student[0].shape)} and teacher views "
            f"{tuple(teacher[0].shape)}; they must have one shape."
        )
    if student[0].dtype != teacher[0].dtype:
        raise ValueError(
            f"dino_loss: student views are {student[0].dtype} and teacher views "
            f"{teacher[0].dtype}; give all views in one dtype."
        )
    if len(teacher) > len(student):
        raise ValueError(
            f"dino_loss: {len(teacher)} teacher views and {len(student)} student views; the "
            "student sees each view of the teacher first, in the same order, and perhaps others."
        )
    if len(student) < 2:
        raise ValueError(
            "dino_loss: one student view is that of the teacher; there is no pair of different "
            "views. Give two or more."
        )
    width = student[0].shape[1]
    if not isinstance(centre, Tensor) or tuple(centre.shape) not in ((width,), (1, width)):
        shape = tuple(centre.shape) if isinstance(centre, Tensor) else type(centre).__name__
        raise ValueError(f"dino_loss: centre must be ({width},) or (1, {width}) (got {shape}).")
    check_positive("dino_loss", "student_temperature", student_temperature)
    check_positive("dino_loss", "teacher_temperature", teacher_temperature)
    if transformed():
        return plain_cross_entropy(
            student, teacher, centre, student_temperature, teacher_temperature
        )
    views = (*student, *anchors(student), *teacher)
    loss: Tensor = CrossEntropy.apply(  # type: ignore[no-untyped-call]
        len(student), student_temperature, teacher_temperature, centre, *views
    )
    return loss
