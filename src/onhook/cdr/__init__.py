"""Job: the rules about calls as pure values and functions: call details, identity, time, call assembly, filters.

May import: lib (errors, timestamps).
Must not: do input or output, read a clock, know a PBX's dialect.
"""
