"""One file per dataset, with the tasks that VTAB-1K takes from it."""
