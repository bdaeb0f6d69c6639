"""Any sequence of operations comes to what a few lists would come to, and leaves a library that is whole."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vpt.artifacts.library import Library
from vpt.errors import OptionError

TASKS = ("a", "b")
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "approve", "approve", "retire", "rollback"]), st.sampled_from(TASKS),
              st.integers(1, 3)), max_size=14,
)  # fmt: skip


class Model:
    """What a task must come to: contents in the order of their numbers, approvals in theirs, and what is withdrawn."""

    def __init__(self) -> None:
        self.contents: list[int] = []
        self.approved: list[int] = []
        self.retired: set[int] = set()

    def may(self, operation: str, number: int) -> bool:
        known = number <= len(self.contents)
        return {
            "add": True,
            "approve": known and self.approved[-1:] != [number],
            "retire": known and number not in self.retired,
            "rollback": len(self.approved) > 1,
        }[operation]

    def do(self, operation: str, number: int) -> None:
        if operation == "add" and number not in self.contents:
            self.contents.append(number)
        if operation == "approve":
            self.approved = [n for n in self.approved if n != number] + [number]
            self.retired.discard(number)
        if operation in ("retire", "rollback"):
            gone = number if operation == "retire" else self.approved[-1]
            self.approved = [n for n in self.approved if n != gone]
            self.retired.add(gone)

    def state(self, number: int) -> str:
        return "retired" if number in self.retired else "approved" if number in self.approved else "draft"


def act(library: Library, saved: list[Path], operation: str, task: str, number: int) -> None:
    if operation == "add":
        library.add(saved[number - 1], task)
    elif operation == "approve":
        library.approve(task, number)
    elif operation == "retire":
        library.retire(task, number, why="old")
    else:
        library.rollback(task, why="worse")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_a_library_comes_to_what_a_few_lists_come_to(saved: list[Path], operations: list[tuple[str, str, int]]) -> None:
    url = f"memory://{uuid4().hex}"
    library, models, changes = Library(url), {task: Model() for task in TASKS}, 0
    for operation, task, number in [("add", "a", 1), *operations]:
        model = models[task]
        before = len(model.contents)
        try:
            act(library, saved, operation, task, number)
        except OptionError:
            assert not model.may(operation, number) or not model.contents
            continue
        assert model.may(operation, number)
        model.do(operation, number)
        changes += operation != "add" or len(model.contents) > before
    for other in (library, Library(url)):
        assert other.head() == changes == len(other.log())
        assert other.tasks() == [task for task in TASKS if models[task].contents]
        for task in other.tasks():
            current, model = other.current(task), models[task]
            assert [v.state for v in other.versions(task)] == [model.state(n + 1) for n in range(len(model.contents))]
            assert (current and current.number) == (model.approved[-1] if model.approved else None)
    assert Library(url).verify() == []
