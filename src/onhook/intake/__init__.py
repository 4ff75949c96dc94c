"""Job: the ways in; all end in one `accept`, which answers only after the ledger has committed.

May import: pbx (contract), ledger, cdr, errors, clock, signing.
Never: read settings or the store; do work that an acknowledgement would have to wait for.
"""
