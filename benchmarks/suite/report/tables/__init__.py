"""The tables of the report, one file each, from `Results` alone."""
