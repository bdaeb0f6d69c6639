"""A run: one configuration in, one method trained on one task, one folder of record out."""
