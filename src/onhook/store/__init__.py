"""Job: the calls, for reading: put, search, summarise, export.

May import: cdr, errors.
Never: read a report, or decide what a call is.
"""
