"""Job: records and calls for reading: put, search, summarize, export (`calls.duckdb`).

May import: lib, cdr.
Must not: parse a raw event, or decide what a call is.
"""
