"""Job: what people look at, a file per page, and how values are shown to them.

May import: store, settings, ledger, delivery (how it stands), cdr, errors, clock, config, signing.
Never: a figure that the store did not count.
"""
