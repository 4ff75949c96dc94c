"""Job: the JSON API, a module per resource.

May import: lib, cdr, config, ledger, store, appdb, delivery, console.
Must not: produce HTML; that is `pages/`.
"""
