"""Job: the dialect of FreeSWITCH: the documents that it sends for each leg, and the calls that their legs are.

May import: lib, cdr, and the contracts of `pbx/`.
Must not: do input or output, read a clock, import another dialect.
"""
