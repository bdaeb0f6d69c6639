"""The charts of the report, one file each: `Results` to a `Chart`, or None where there is nothing to draw."""
