"""Job: the figures of `make bench`, each beside its yardstick in the same run; the machine is shared, so ratios count.

May import: all but cli.
Never: run in a test.
"""
