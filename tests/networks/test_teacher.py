"""The teacher's moving average."""

from __future__ import annotations

import copy

import torch
from torch import nn

from selfsight.networks.teacher import Teacher


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("table", torch.randn(2))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(x))


def moved(student: nn.Module) -> nn.Module:
    with torch.no_grad():
        for value in (*student.parameters(), *student.buffers()):
            value.add_(torch.randn_like(value) if value.is_floating_point() else 7)
    return student


def test_it_starts_as_a_copy_without_gradients() -> None:
    student = Student()
    teacher = Teacher(student)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())
    x = torch.randn(5, 3)
    out = teacher(x)
    assert torch.equal(out, student(x))
    assert not out.requires_grad
    mine, theirs = teacher.module.state_dict(), student.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert {p.data_ptr() for p in teacher.parameters()}.isdisjoint(
        p.data_ptr() for p in student.parameters()
    )


def test_update_is_the_weighted_mean() -> None:
    torch.manual_seed(0)
    student = Student().double()
    teacher = Teacher(student)
    teacher.eval()
    before = copy.deepcopy(teacher.module.state_dict())
    moved(student)
    kept = copy.deepcopy(student.state_dict())
    teacher.update(student, torch.tensor(0.75))
    for name, value in teacher.module.state_dict().items():
        if value.is_floating_point():
            expected = 0.75 * before[name] + 0.25 * student.state_dict()[name]
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-15)
        else:
            assert value == student.state_dict()[name]
    assert all(torch.equal(kept[name], value) for name, value in student.state_dict().items())


def test_in_train_mode_it_keeps_its_own_batch_statistics() -> None:
    student = Student()
    teacher = Teacher(student)
    teacher(torch.randn(8, 3))
    own = copy.deepcopy(teacher.module.norm.state_dict())
    moved(student)
    teacher.update(student, torch.tensor(0.5))
    norm = teacher.module.norm
    assert teacher.training
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(norm, name), own[name])
    assert not torch.equal(norm.weight, own["weight"])
    assert teacher.module.count == student.count


def test_momentum_0_copies_and_1_keeps() -> None:
    student = Student()
    teacher = Teacher(student)
    before = [p.clone() for p in teacher.parameters()]
    moved(student)
    teacher.update(student, torch.tensor(1.0))
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), before, strict=True))
    teacher.update(student, torch.tensor(0.0))
    pairs = zip(teacher.parameters(), student.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_its_state_can_be_saved_and_put_back() -> None:
    student = Student()
    teacher = Teacher(student)
    moved(student)
    teacher.update(student, torch.tensor(0.9))
    other = Teacher(Student())
    other.load_state_dict(teacher.state_dict())
    assert all(
        torch.equal(value, other.state_dict()[name]) for name, value in teacher.state_dict().items()
    )


def test_update_reads_nothing_on_the_host() -> None:
    """Tensors without data: any read of a value would raise."""
    with torch.device("meta"):
        student = Student()
        teacher = Teacher(student)
        teacher.update(student, torch.tensor(0.5))
