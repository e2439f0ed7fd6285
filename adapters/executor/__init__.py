"""The executor: a replica that fulfils runs."""

from adapters.executor.executor import Executor

__all__ = ["Executor"]
