"""Job: the dialect of Cisco Unified Communications Manager: the rows of its CDR files, and the calls that they are.

May import: lib, cdr, and the contracts of `pbx/`.
Must not: do input or output, read a clock, import another dialect.
"""
