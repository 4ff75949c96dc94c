"""Job: the live feed of records.

May import: lib, cdr, store, console.
Must not: buffer without a bound.
"""
