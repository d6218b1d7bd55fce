"""Curves on disk: TensorBoard, and Weights & Biases in offline mode where it is installed."""

from __future__ import annotations

from pathlib import Path


class Log:
    """Writes scalars to `folder`; with folder None, nothing.

    After a resume, TensorBoard hides what an interrupted run wrote from `first_step` on.
    """

    def __init__(self, folder, *, options: dict, first_step: int = 1):
        self.board = self.run = None
        if folder is None:
            return
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        Path(folder).mkdir(parents=True, exist_ok=True)
        self.board = SummaryWriter(str(folder), purge_step=first_step)
        try:
            import wandb
        except ImportError:
            return
        self.run = wandb.init(
            project="course", dir=str(folder), mode="offline", config=options, settings={"silent": True, "console": "off"}
        )

    def write(self, step: int, **scalars: float) -> None:
        """Named values at a step."""
        if self.board is not None:
            for name, value in scalars.items():
                self.board.add_scalar(name, value, step)
        if self.run is not None:
            self.run.log(scalars, step=step)

    def close(self) -> None:
        """Flush and close the files."""
        if self.board is not None:
            self.board.close()
        if self.run is not None:
            self.run.finish()
