"""Job: reports: the same calls as a table, a picture and a file, every figure a link to the calls behind it.

May import: store, settings, ledger, cdr, errors, clock, config, signing.
Never: count what the store can count.
"""
