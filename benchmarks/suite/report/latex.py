"""A table for LaTeX."""

from __future__ import annotations

from benchmarks.suite.report.table import Entry, Table

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "–": "--", "−": r"$-$", "×": r"$\times$",
    "\n": " ", "\r": " ",
}  # fmt: skip


def escape(text: str) -> str:
    """Text that LaTeX sets as it stands, brackets at a line's start included."""
    escaped = "".join(_SPECIAL.get(letter, letter) for letter in text)
    return f"{{{escaped}}}" if escaped.startswith(("[", "*")) else escaped


def latex(table: Table) -> str:
    """A `table*` with booktabs rules, as wide as the text; what it needs stands in its first line."""
    spans, rules = "", ""
    if table.spans():
        cells, start = [], 1
        for group, width in table.spans():
            cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(group)}}}")
            rules += rf"\cmidrule(lr){{{start}-{start + width - 1}}}" if group else ""
            start += width
        spans = f"{' & '.join(cells)} \\\\\n{rules}\n"
    heads = [escape(column.text) for column in table.columns]
    if len(heads) > 8:
        heads[1:] = [rf"\rotatebox{{90}}{{{head}}}" for head in heads[1:]]
    lines = [" & ".join([_entry(line.head), *map(_entry, line.entries)]) for line in table.lines]
    notes = f"\\par\\smallskip{{\\footnotesize {escape(' '.join(table.notes))}}}\n" if table.notes else ""
    return (
        "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}.\n"
        f"\\begin{{table*}}\n\\centering\n\\caption{{{escape(table.caption)}}}\n"
        f"\\resizebox{{\\linewidth}}{{!}}{{%\n\\begin{{tabular}}{{l{'c' * (len(heads) - 1)}}}\n\\toprule\n"
        f"{spans}{' & '.join(heads)} \\\\\n\\midrule\n"
        + "".join(f"{line} \\\\\n" for line in lines)
        + f"\\bottomrule\n\\end{{tabular}}}}\n{notes}\\end{{table*}}\n"
    )


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    text = rf"\textbf{{{text}}}" if entry.tone == "best" else text
    return rf"{text} {{\scriptsize {escape(entry.small)}}}" if entry.small else text
