"""Job: the dialect of Avaya IP Office: the lines of its SMDR, and the calls that they are.

May import: lib, cdr, and the contracts of `pbx/`.
Must not: do input or output, read a clock, import another dialect.
"""
