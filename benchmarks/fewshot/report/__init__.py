"""The report of a few-shot benchmark, from the files of its folder alone.

views       which trials each table is of, and which of their metrics
tables/     each table as data            charts      the charts
contents    all of it together            tidy        the numbers as CSV
write       `write`: page, Markdown, LaTeX, CSV, charts
"""

from benchmarks.fewshot.report.write import write

__all__ = ["write"]
