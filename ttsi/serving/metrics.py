"""Counts and times for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from ttsi.serving.tickets import Outcome

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """What a server has done; `waiting` tells the length of its queue."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, waiting: Callable[[], float]) -> None:
        own = self._registry = CollectorRegistry()
        self._requests = Counter(
            "ttsi_requests", "Requests by route and status.", ["route", "status"], registry=own
        )
        self._seconds = Histogram(
            "ttsi_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=own
        )
        self._answers = Counter(
            "ttsi_answers", "Answers by whether they were adapted.", ["adapted"], registry=own
        )
        self._stages = Counter(
            "ttsi_stage_seconds", "Time of the model by stage.", ["stage"], registry=own
        )
        self._tokens = Counter(
            "ttsi_tokens",
            "Tokens read and written in all stages.",
            ["kind"],
            registry=own,
        )
        self._confidence = Histogram(
            "ttsi_confidence",
            "How certain the model was.",
            buckets=[tenth / 10 for tenth in range(1, 11)],
            registry=own,
        )
        self._waves = Histogram(
            "ttsi_wave_tasks", "Tasks in a wave.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=own
        )
        self._wave_seconds = Histogram(
            "ttsi_wave_seconds", "Time of a wave.", buckets=_SECONDS, registry=own
        )
        self._feedback = Counter(
            "ttsi_feedback", "Feedback by what it said.", ["correct"], registry=own
        )
        Gauge("ttsi_waiting", "Tasks that wait.", registry=own).set_function(waiting)

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answer(self, outcome: Outcome) -> None:
        self._answers.labels(str(outcome.adapted).lower()).inc()
        if outcome.confidence is not None:
            self._confidence.observe(outcome.confidence)

    def spent(self, outcome: Outcome) -> None:
        """Count the seconds and tokens of a task, once for all who asked it."""
        for stage, cost in outcome.costs.items():
            self._stages.labels(stage).inc(cost.seconds)
            self._tokens.labels("prompt").inc(cost.prompt_tokens)
            self._tokens.labels("completion").inc(cost.completion_tokens)

    def wave(self, tasks: int, seconds: float) -> None:
        self._waves.observe(tasks)
        self._wave_seconds.observe(seconds)

    def feedback(self, correct: bool) -> None:
        self._feedback.labels(str(correct).lower()).inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)
