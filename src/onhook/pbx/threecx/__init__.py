"""Job: the dialect of 3CX: the lines that it writes when a call has ended.

May import: lib, cdr, and the contracts of `pbx/`.
Must not: do input or output, read a clock, import another dialect.
"""
