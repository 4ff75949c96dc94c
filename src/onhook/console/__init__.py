"""Job: the window: pages, JSON API, live feed, exports, access.

May import: store, settings, ledger (counts), delivery (how it stands), cdr, errors, clock, config.
Never: a rule about calls, or SQL.
"""
