"""Job: the pages, a module per page, and the formatting of values.

May import: lib, cdr, config, ledger, store, appdb, delivery, console.
Must not: show a figure that the store did not count.
"""
