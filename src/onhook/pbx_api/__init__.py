"""Job: the Yeastar-compatible web API that Onhook serves: tokens, event sockets, CDR queries, webhooks.

May import: lib, cdr, config, pbx, store, appdb.
Must not: change a call, or send requests to a PBX.
"""
