"""Experiments too long for a lesson: a grid of variants, seeds and draws, run once and kept as a small table of results."""

from course_lib.experiments.costs import cost_card
from course_lib.experiments.runner import Cell, Experiment, ExperimentError, experiment, names, results, run

__all__ = ["Cell", "Experiment", "ExperimentError", "cost_card", "experiment", "names", "results", "run"]
