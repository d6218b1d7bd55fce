"""Elastic scaling: the autoscaler's rule, the queue it answers for, a simulator and a real pool of workers that it drives."""

from course_lib.serving.scaling.autoscaler import HorizontalPodAutoscaler, Policy
from course_lib.serving.scaling.load import Replay, arrivals, hour_profile, replay
from course_lib.serving.scaling.pool import CpuUtilisation, PoolError, WorkerPool, drive
from course_lib.serving.scaling.queueing import Queue, erlang_c, servers_for
from course_lib.serving.scaling.simulation import Result, simulate

__all__ = [
    "CpuUtilisation",
    "HorizontalPodAutoscaler",
    "Policy",
    "PoolError",
    "Queue",
    "Replay",
    "Result",
    "WorkerPool",
    "arrivals",
    "drive",
    "erlang_c",
    "hour_profile",
    "replay",
    "servers_for",
    "simulate",
]
