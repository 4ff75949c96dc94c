"""Job: build each process from its services, start them in order, stop them in reverse.

May import: all packages but `cli`.
Must not: hold a rule about calls.
"""
