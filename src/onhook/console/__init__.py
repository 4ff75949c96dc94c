"""Job: pages, JSON API, live feed, exports and sign-in.

May import: lib, cdr, config, ledger, store, appdb, delivery.
Must not: hold a rule about calls, or SQL.
"""
