"""Job: queries that both `api/` and `pages/` use.

May import: lib, cdr, config, ledger, store, appdb, delivery, console.
Must not: produce HTML or HTTP responses.
"""
