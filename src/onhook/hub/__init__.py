"""Job: the hall: builds the rooms of each process, connects them, stops them in reverse.

May import: all rooms but `cli`.
Never: a rule about calls.
"""
