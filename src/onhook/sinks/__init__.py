"""Job: how each destination wants the event, a file each; `sink.py` is the contract.

May import: pbx (its contract), cdr, errors, signing.
Never: decide whether, when or how often to send.
"""
