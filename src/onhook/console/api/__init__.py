"""Job: the JSON API, a file per resource: what programs ask, and what pages ask as programs do.

May import: store, settings, ledger, delivery (how it stands), cdr, errors, clock, config, signing.
Never: HTML; that is `pages`.
"""
