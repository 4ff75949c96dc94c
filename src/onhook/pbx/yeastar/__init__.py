"""Job: the Yeastar P-Series: event 30012 as call details and back, and both sides of its web API.

May import: lib, cdr, and the contracts of `pbx/`.
Must not: do input or output, import another dialect.
"""
