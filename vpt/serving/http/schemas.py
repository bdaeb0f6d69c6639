"""What goes in and what comes out, typed; the OpenAPI document is made of these."""

from __future__ import annotations

from typing import Annotated

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

Top = Annotated[int, Field(ge=1, description="Classes per answer, likeliest first.")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PredictForm(_Asked):
    """Images as files; each is answered for each task."""

    image: Annotated[list[UploadFile], Field(min_length=1, description="One image or several.")]
    task: Annotated[list[str], Field(min_length=1, description="Tasks: the field repeated, or names with commas.")]
    top: Top = 5
    logits: bool = False
    attention: bool = False


class Item(_Asked):
    """An image, and what to do with it."""

    image: Annotated[str, Field(description="The file's content in base64.")]
    tasks: Annotated[list[str], Field(min_length=1)]
    name: Annotated[str | None, Field(description="What answer and errors call it.")] = None
    top: Top = 5
    logits: bool = False
    attention: bool = False


class PredictItems(_Asked):
    """Images inside the document."""

    items: Annotated[list[Item], Field(min_length=1)]


class Likely(BaseModel):
    """A class with its probability in [0, 1]."""

    label: str
    probability: float


class Answer(BaseModel):
    """What one image is for one task, and which version of the task says so."""

    task: str
    version: Annotated[int | None, Field(description="Of the library; null for a task that is in none.")]
    digest: Annotated[str | None, Field(description="SHA-256 of the task's tensors.")]
    classes: Annotated[list[Likely], Field(description="Likeliest first.")]
    logits: Annotated[list[float] | None, Field(description="[C], in the order of the task's classes.")] = None
    attention: Annotated[
        list[list[float]] | None, Field(description="[H', W']: where the class token looks; null without one.")
    ] = None


class Seen(BaseModel):
    """One image's answers, in the order of its tasks."""

    name: str
    answers: list[Answer]


class Predicted(BaseModel):
    """The images in the order in which they were sent."""

    images: list[Seen]


class TaskSummary(BaseModel):
    """A task that is served. bytes: of its tensors in memory."""

    name: str
    version: int | None
    digest: str | None
    method: str | None
    num_classes: int
    bytes: int


class TaskDetails(TaskSummary):
    """All there is to say of a task that is served."""

    classes: list[str]
    backbone: str | None
    licence: str | None
    intended_use: str | None
    metrics: Annotated[dict[str, float], Field(description="As measured when it was trained.")]


class Problem(BaseModel):
    """A task that should be served and does not load, and why."""

    name: str
    message: str


class TaskList(BaseModel):
    """The tasks that the caller may use."""

    tasks: list[TaskSummary]
    problems: list[Problem]
    max_tasks: Annotated[int, Field(description="Most tasks that a request may ask of an image.")]


class PutTask(_Asked):
    """version: of the library, and kept whatever the library says later; null follows the library."""

    version: Annotated[int | None, Field(ge=1)] = None


class State(BaseModel):
    """How the server is."""

    status: str


class Fault(BaseModel):
    """code: for programs; message: for people."""

    code: str
    message: str


class Failure(BaseModel):
    """A refusal."""

    error: Fault
