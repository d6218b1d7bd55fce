"""Training: one `fit` for every model that learns by gradient descent."""

from course_lib.training.adversarial import FGM, PGD, word_embeddings
from course_lib.training.checkpoint import Checkpoint
from course_lib.training.config import Training, has_bf16
from course_lib.training.errors import TrainingError
from course_lib.training.loop import History, fit
from course_lib.training.schedules import parameter_groups, schedule

__all__ = [
    "FGM",
    "PGD",
    "Checkpoint",
    "History",
    "Training",
    "TrainingError",
    "fit",
    "has_bf16",
    "parameter_groups",
    "schedule",
    "word_embeddings",
]
