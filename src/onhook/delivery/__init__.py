"""Job: decide whether, when and in which order notifications are sent, and how often they are retried.

May import: lib, cdr, config, pbx, store, appdb.
Must not: know the protocol of a kind of destination; that is `destinations/`.
"""
