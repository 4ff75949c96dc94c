"""Job: send to each kind of destination, a module per kind behind `contract.py`.

May import: lib, cdr, config, pbx, appdb.
Must not: decide whether, when or how often to send.
"""
