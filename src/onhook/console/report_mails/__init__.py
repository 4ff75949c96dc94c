"""Job: reports as mails: the report of a schedule, as its user may see it now, its files, and links that end the mails.

May import: lib, cdr, config, ledger, store, appdb, delivery, console.
Must not: send anything, or decide when a report is due.
"""
