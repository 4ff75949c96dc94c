"""Job: decide whether, when and in which order notifications are sent, and how often they are tried.

May import: lib, cdr, config, pbx, store, appdb.
Must not: know how a kind of destination is spoken to; that is `destinations/`.
"""
