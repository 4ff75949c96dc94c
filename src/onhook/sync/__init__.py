"""Job: everything that reaches Onhook over a connection that Onhook opens: push channel, AMI, back-fill, CDR files
and tables.

May import: lib, cdr, config, pbx, ledger, store, appdb, receiver.
Must not: write to the store, or bypass `receiver.ingest`.
"""
