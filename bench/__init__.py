"""Job: the figures of `make bench`, each beside its yardstick in the same run; the machine is shared, so ratios count.

May import: all but cli. Must not: run in a test.
"""
