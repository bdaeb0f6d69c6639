"""The report of a benchmark, from the files of its folder alone.

    records     plan and trials, read; what is damaged or missing
    statistics  means, deviations, paired differences
    results     the numbers: cells, means over tasks, wins
    data, cost, outcomes, facts   what else the records say
    tables/     each table as data            charts/   each chart as SVG
    contents    all of it together
    page, markdown, latex, tidy   the forms it is set in
    write       `write_report` and `show`

A suite gives a `Suite` with its title and, where it has them, figures that others published.
"""

from benchmarks.suite.report.suite import Published, Suite
from benchmarks.suite.report.write import Report, show, write_report

__all__ = ["Published", "Report", "Suite", "show", "write_report"]
