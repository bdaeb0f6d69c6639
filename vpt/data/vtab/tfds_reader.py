"""A program that reads a prepared TFDS dataset for another process: `python tfds_reader.py <folder>`.

array_record keeps threads and state that do not survive a fork: a process that has read such a file cannot fork
workers that read it too (they crash or hang). So no process of vpt ever does; each asks one of these programs.
It imports nothing of vpt, and starts in a second.

Requests come pickled on standard input: `(number, split, positions, features)`. Answers go pickled to standard output:
`(number, answer)`, an answer being a list with one dict of those features per position, or a text that says what went
wrong. It ends with its input.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import IO, Any

Examples = list[dict[str, Any]]


def opener(folder: str) -> Callable[[str], Any]:
    """`open(split)` for the dataset in `folder`: a sequence of examples, their images as the bytes that are kept."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    encoded = {
        name: tfds.decode.SkipDecoding()
        for name, feature in builder.info.features.items()
        if isinstance(feature, tfds.features.Image)
    }
    sources: dict[str, Any] = {}

    def open_split(split: str) -> Any:
        if split not in sources:
            sources[split] = builder.as_data_source(split, decoders=encoded, file_format="array_record")
        return sources[split]

    return open_split


def examples(source: Any, positions: Sequence[int], features: Sequence[str]) -> Examples:
    """Those features of the examples at those positions; ValueError for a damaged one."""
    found = []
    for position in positions:
        example = source[position]
        empty = [feature for feature, value in example.items() if value is None]
        if empty:  # array_record reads a damaged record as an empty one
            raise ValueError(f"the record at {position} is damaged: it holds no {', '.join(empty)}")
        found.append({feature: example[feature] for feature in features})
    return found


def serve(folder: str, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers every request until there are no more."""
    open_split: Callable[[str], Any] | None = None
    while True:
        try:
            number, split, positions, features = pickle.load(requests)
        except EOFError:
            return
        answer: Examples | str
        try:
            open_split = open_split or opener(folder)
            answer = examples(open_split(split), positions, features)
        except Exception as error:  # whatever it is, the asking process raises it with the example's name
            answer = f"{type(error).__name__}: {error}"
        pickle.dump((number, answer), answers)
        answers.flush()


if __name__ == "__main__":
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    serve(sys.argv[1], sys.stdin.buffer, own)
