"""Job: a made-up office: callers, IVR, queues and agents whose calls are reported through `pbx/`.

May import: pbx, cdr, errors, clock, signing.
Never: what the receiving side keeps.
"""
