"""Checks of the repository that `make check` runs."""
