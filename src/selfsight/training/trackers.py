"""Where the figures of a training go beside its own `metrics.csv`."""

from __future__ import annotations

from lightning.pytorch.loggers import Logger

from selfsight.runs.folder import RunFolder
from selfsight.training.settings import Pretrain


def trackers(settings: Pretrain, folder: RunFolder) -> list[Logger]:
    """The loggers that the settings name; none in any process but the first.

    Raises:
        ValueError: the package of one is not installed.
    """
    made: list[Logger] = []
    for name in settings.track if first_process() else ():
        from lightning.pytorch import loggers

        try:
            if name == "wandb":
                made.append(loggers.WandbLogger(name=folder.path.name, save_dir=folder.path))
            elif name == "mlflow":
                made.append(loggers.MLFlowLogger(run_name=folder.path.name))
            else:
                made.append(loggers.TensorBoardLogger(folder.path, name="tensorboard", version=""))
        except ModuleNotFoundError as error:
            raise ValueError(f"tracker {name!r}: {error}") from None
    return made


def first_process() -> bool:
    """Whether this process is the one that writes."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0
