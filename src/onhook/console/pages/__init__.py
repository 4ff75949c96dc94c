"""Job: the pages, a module per page, and how values are formatted on them.

May import: lib, cdr, config, ledger, store, appdb, delivery, console.
Must not: show a figure that the store did not count.
"""
