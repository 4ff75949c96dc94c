"""Job: records as CSV, XLSX, JSON lines and Parquet, streamed.

May import: lib, cdr, store.
Must not: hold a whole export in memory.
"""
