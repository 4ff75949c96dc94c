"""Job: dashboards: tiles with figures of a period, compared with the same weekdays before.

May import: lib, cdr, config, ledger, store, appdb, delivery, receiver, console.
Must not: count what the store can count.
"""
