"""The fixtures of the evaluation's tests: an honest net and the digits to try it on."""

from tests.evaluation.conftest import examples, honest

__all__ = ["examples", "honest"]
