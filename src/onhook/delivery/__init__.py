"""Job: whether and when to send: what is owed to each subscription, in which order, how often it is tried.

May import: sinks (their contract), store (its contract), settings, cdr, errors, clock.
Never: know how a destination wants it; that is the sink's.
"""
