"""Job: the dialect of Grandstream UCM: the rows of its call details records, and the calls that they are.

May import: lib, cdr, and the contracts of `pbx/`.
Must not: do input or output, read a clock, import another dialect.
"""
