"""Job: maintenance: backup, rebuild, retention, health checks, roll-ups, quarantine retry.

May import: lib, cdr, config, pbx, ledger, store, appdb, receiver, projector, delivery, sync, simulator.
Must not: serve requests.
"""
