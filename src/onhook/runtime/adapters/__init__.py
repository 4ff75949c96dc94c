"""Job: implementations of lower packages' contracts that need imports of several packages.

May import: all packages but `cli`.
Must not: hold a rule about calls.
"""
