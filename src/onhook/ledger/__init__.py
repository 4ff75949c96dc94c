"""Job: append raw events durably, number them, read them after a number (`ledger.db`).

May import: lib.
Must not: parse a raw event.
"""
