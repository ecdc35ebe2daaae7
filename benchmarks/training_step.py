"""One training step, as selfsight makes it and as lightly's example script does; both are timed.

`OurStep` runs what `selfsight pretrain` runs in each step: loader, views, method, backward,
optimizer, schedule, after_step. `TheirStep` is the loop of lightly's SimCLR example, on the same
network and width of projector.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from peers import declare_operators
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

declare_operators()  # torchmetrics imports torchvision where it is installed
from selfsight.data.imageset import ImageSet  # noqa: E402
from selfsight.data.loader import Loader, RawBatch  # noqa: E402
from selfsight.kernels.memory_pages import freed_pages_kept  # noqa: E402
from selfsight.method import Batch  # noqa: E402
from selfsight.networks.architectures import build_backbone  # noqa: E402
from selfsight.networks.specs import Network, choose_backbone  # noqa: E402
from selfsight.training.optimizers import build_optimizer, set_schedule  # noqa: E402
from selfsight.training.plan import prepare  # noqa: E402
from selfsight.training.pretrain import build  # noqa: E402
from selfsight.training.settings import Pretrain  # noqa: E402
from selfsight.views.apply import make_views  # noqa: E402


def noise_images(count: int, side: int) -> ImageSet:
    """Smoothed noise: a step takes as long on it as on photographs."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    pixels = np.stack([np.array(Image.fromarray(c).resize((side, side), 3)) for c in coarse])
    ids = np.array([f"{i:06d}" for i in range(count)])
    return ImageSet("noise", pixels, ids, np.full(count, "train"))


class OurStep:
    """selfsight's training step, one batch at each call, without end.

    Args:
        images: at least a batch of them.
        method: its name.
        ready: views are made once and used again: what the step costs beyond them.
        settings: of `Pretrain`, by name.
    """

    def __init__(
        self, images: ImageSet, method: str = "simclr", *, ready: bool = False, **settings: Any
    ) -> None:
        # As in every training, and for as long: a context that nothing holds is closed at once.
        self.pages = freed_pages_kept()
        self.pages.__enter__()
        asked = Pretrain.model_validate({"method": method, "data": images.name})
        plan = prepare(asked.updated({"allow_near": True, **settings}), images)
        self.plan, self.settings = plan, plan.settings
        self.method = build(plan).to(plan.device)
        if plan.settings.compile == "on":
            self.method.compile(fullgraph=True)
        rows = plan.rows
        self.loader = Loader(
            plan.parts,
            torch.full((rows,), -1),
            batch_size=plan.settings.batch_size,
            epochs=1_000_000,
            seed=0,
            device=plan.device,
            on_device=plan.on_device,
        )
        self.optimizer = build_optimizer(
            plan.settings.optimizer, self.method, plan.settings.batch_size
        )
        self.batches = self._batches()
        self.ready: list[Tensor] | None = None
        if ready:
            self.ready = self._views(next(self.batches))
            self.raw = next(self.batches)
        self.steps = 0

    def _batches(self) -> Iterator[RawBatch]:
        while True:
            yield from self.loader

    def _views(self, raw: RawBatch) -> list[Tensor]:
        assert self.settings.views is not None
        return make_views(raw.images, raw.keys, self.settings.views, self.plan.statistics)

    def __call__(self) -> None:
        raw = self.raw if self.ready is not None else next(self.batches)
        views = self.ready if self.ready is not None else self._views(raw)
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.method(Batch(views, raw.targets, raw.keys, raw.progress)).losses
        losses["loss"].backward()
        self.steps += 1
        size = self.settings.batch_size
        set_schedule(self.optimizer, self.settings.optimizer, size, min(self.steps / 1000, 1.0))
        self.optimizer.step()
        self.method.after_step(raw.progress)


class Images(Dataset[tuple[list[Tensor], int]]):
    """Pillow images under a transform, as `LightlyDataset` gives them.

    An epoch is as long as CIFAR-10's, of the same images again and again: at the end of one the
    workers have nothing to make, and a step in a short epoch would have its views for nothing.
    """

    def __init__(self, images: ImageSet, transform: Any) -> None:
        self.images = [Image.fromarray(image) for image in images.pixels]
        self.transform = transform

    def __len__(self) -> int:
        return 50_000

    def __getitem__(self, index: int) -> tuple[list[Tensor], int]:
        return self.transform(self.images[index % len(self.images)]), 0


class TheirStep:
    """The loop of lightly's SimCLR example.

    Args:
        images: at least a batch of them.
        backbone: its name; the network is selfsight's in both, so that only the step differs.
        batch_size: images.
        workers: of the DataLoader.
        fair: bf16 autocast around the backbone and channels_last, which the example has not.
        device: of the training.
    """

    def __init__(
        self,
        images: ImageSet,
        backbone: str,
        batch_size: int,
        workers: int,
        *,
        fair: bool,
        device: str = "cpu",
    ) -> None:
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead
        from lightly.transforms import SimCLRTransform

        side = images.height
        spec = choose_backbone(backbone, Network(), images.channels, side, device)
        network = build_backbone(spec, seed=0)
        width = network.features
        self.model = nn.Sequential(network.network, SimCLRProjectionHead(width, 512, 128))
        self.fair, self.device = fair, torch.device(device)
        self.form = torch.channels_last if fair else torch.contiguous_format
        self.model.to(self.device, memory_format=self.form)
        self.criterion = NTXentLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.06)
        self.loader = DataLoader(
            Images(images, SimCLRTransform(input_size=side)),
            batch_size=batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        self.batches = self._batches()

    def _batches(self) -> Iterator[Any]:
        while True:
            yield from self.loader

    def __call__(self) -> None:
        (first, second), _ = next(self.batches)
        views = [x.to(self.device).contiguous(memory_format=self.form) for x in (first, second)]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.fair):
            said = [self.model[0](x) for x in views]
        loss = self.criterion(*(self.model[1](x.float()) for x in said))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
