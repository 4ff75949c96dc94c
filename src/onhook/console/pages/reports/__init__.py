"""Job: the reports: the same figures as a table, a chart and a file, each figure a link to the calls behind it.

May import: lib, cdr, config, ledger, store, appdb, console.
Must not: count what the store can count.
"""
