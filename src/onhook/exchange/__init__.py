"""Job: the PBX's face: its own web API (tokens, sockets, queries, webhooks) for applications written for the original.

May import: pbx, store, settings, cdr, errors, clock.
Never: a call kept or changed, a PBX asked.
"""
