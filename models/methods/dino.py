"""DINO (Caron et al., arXiv 2104.14294) with the view weighting of SSLight (Tan et al., arXiv 2210.02808).

SSLight weighs two kinds of terms separately: alpha times the mean over global-global pairs plus (1 - alpha)
times the mean over global-local pairs; alpha = 1 / (1 + locals) is DINO's plain mean over all pairs (6
locals: 1/7).
"""

import copy
import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders import width
from models.heads import PrototypeHead
from models.methods import Batch, Losses, Objective, upcast


@dataclass
class Config:
    alpha: float | None = 0.4
    hidden: int = 2048
    bottleneck: int = 256
    prototypes: int = 4096
    batch_norm: bool = True
    student_temperature: float = 0.1
    teacher_temperature: list[float] = field(default_factory=lambda: [0.04, 0.07])
    teacher_warmup: float = 0.25
    centre_momentum: float = 0.9
    teacher_momentum: float = 0.996

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: {self.alpha} is out of range; allowed: [0, 1], or null for DINO's mean")
        if len(self.teacher_temperature) != 2 or not all(0 < t < math.inf for t in self.teacher_temperature):
            given = f"teacher_temperature: {self.teacher_temperature} is wrong"
            raise ValueError(f"{given}; allowed: [first, last] above 0, finite")
        if not 0 < self.student_temperature < math.inf:
            given = f"student_temperature: {self.student_temperature} is out of range"
            raise ValueError(f"{given}; allowed: above 0, finite")
        for name in ("teacher_warmup", "centre_momentum", "teacher_momentum"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} is out of range; allowed: [0, 1]")


class Method(Objective):
    """Cross-entropy of the student, on each other view, to a centred, sharpened teacher on a global view."""

    VIEWS: ClassVar[dict[str, tuple[int, int]]] = {"global": (2, 2), "local": (0, 16)}
    centre: Tensor
    temperature: Tensor

    def __init__(self, encoder: nn.Module, config: Config, classes: int) -> None:
        super().__init__()
        self.config = config
        head = PrototypeHead(
            width(encoder), config.hidden, config.bottleneck, config.prototypes, config.batch_norm
        )
        self.student = nn.ModuleDict({"encoder": encoder, "head": head})
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(config.prototypes))
        self.register_buffer("temperature", torch.tensor(config.teacher_temperature[0]))

    def exported(self) -> nn.Module:
        """The teacher's encoder, which is the one that DINO evaluates."""
        return self.teacher["encoder"]

    def projection(self) -> nn.Sequential:
        """The teacher's two hidden layers."""
        mlp = self.teacher["head"].mlp
        assert isinstance(mlp, nn.Sequential)
        return mlp[:-1]

    def trained(self) -> nn.Module:
        """The student's encoder."""
        return self.student["encoder"]

    def losses(self, batch: Batch) -> Losses:
        views = batch.views["global"]
        with torch.no_grad():
            targets = self._logits(self.teacher, views)
            sharp = [F.softmax((t - self.centre) / self.temperature, dim=-1) for t in targets]
        students = self._logits(self.student, views)
        students += self._logits(self.student, batch.views.get("local", []))
        logs = [F.log_softmax(s / self.config.student_temperature, dim=-1) for s in students]
        if self.training:
            mean = torch.cat(targets).mean(dim=0)
            self.centre.lerp_(mean, 1 - self.config.centre_momentum)
        return Losses(weighted(sharp, logs, len(views), self.config.alpha))

    @staticmethod
    def _logits(network: nn.ModuleDict, views: list[Tensor]) -> list[Tensor]:
        if not views:
            return []
        logits = upcast(network["head"](network["encoder"](torch.cat(views))))
        return list(logits.chunk(len(views)))

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student and raise its temperature; momentum rises to 1 on a cosine."""
        momentum = 1 - (1 - self.config.teacher_momentum) * (math.cos(math.pi * progress) + 1) / 2
        for teacher, student in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            teacher.lerp_(student, 1 - momentum)
        first, last = self.config.teacher_temperature
        risen = min(1.0, progress / self.config.teacher_warmup) if self.config.teacher_warmup else 1.0
        self.temperature.fill_(first + (last - first) * risen)


def weighted(teacher: list[Tensor], student: list[Tensor], globals_: int, alpha: float | None) -> Tensor:
    """Of each view, teacher probabilities and student log-probabilities (B, K) -> SSLight's loss (B,).

    The first `globals_` student views are the teacher's own views; the rest are local. Without local views
    alpha has no effect.
    """
    near: list[Tensor] = []
    far: list[Tensor] = []
    for t, target in enumerate(teacher):
        for s, log in enumerate(student):
            if s != t:
                (near if s < globals_ else far).append(-(target * log).sum(dim=-1))
    if not far:
        return torch.stack(near).mean(dim=0)
    share = 1 / (1 + len(student) - globals_) if alpha is None else alpha
    return share * torch.stack(near).mean(dim=0) + (1 - share) * torch.stack(far).mean(dim=0)
