"""Benchmarks of vpt: each a module with a command, results as plain files, and a report made from those files."""
