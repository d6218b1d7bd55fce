"""Course learning: what is hard, when it is shown, which stage comes first, and what each order is worth at equal cost."""

from course_lib.curriculum.comparison import Comparison, StepCounter, compare, differences
from course_lib.curriculum.difficulty import rarity, rating_noise, teacher_residual, text_length
from course_lib.curriculum.pacing import competence, linear, step
from course_lib.curriculum.samplers import PacedSampler, SelfPacedSampler, ShuffledSampler, seen, self_paced
from course_lib.curriculum.stages import Stage, course
from course_lib.curriculum.text_stages import TextStudent, contrastive_loss, neighbour_auc

__all__ = [
    "Comparison",
    "PacedSampler",
    "SelfPacedSampler",
    "ShuffledSampler",
    "Stage",
    "StepCounter",
    "TextStudent",
    "compare",
    "competence",
    "contrastive_loss",
    "course",
    "differences",
    "linear",
    "neighbour_auc",
    "rarity",
    "rating_noise",
    "seen",
    "self_paced",
    "step",
    "teacher_residual",
    "text_length",
]
