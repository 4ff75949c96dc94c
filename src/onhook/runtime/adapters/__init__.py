"""Job: implementations of lower packages' contracts with what only `runtime` may import.

May import: all packages but `cli`.
Must not: hold a rule about calls.
"""
