"""Where jobs are done. Each executor is one file with a class that keeps the promise of `Executor`."""

from benchmarks.suite.executors.executor import Died, Executor, open_executor

__all__ = ["Died", "Executor", "open_executor"]
