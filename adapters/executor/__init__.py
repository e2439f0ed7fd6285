"""The executor: a replica that fulfils runs."""

from adapters.executor.executor import Executor, RunFailed

__all__ = ["Executor", "RunFailed"]
