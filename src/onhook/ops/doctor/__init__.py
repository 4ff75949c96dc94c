"""Job: the health checks of `onhook doctor`: host, PBX, Asterisk.

May import: lib, cdr, config, pbx, ledger, store, appdb, delivery, sync, ops.
Must not: change anything.
"""
