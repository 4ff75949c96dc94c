"""Job: the application database (`onhook.db`): PBXs, secrets, destinations, deliveries, users, tokens, notes, and its
migrations.

May import: lib, cdr.
Must not: hold call details, or show a secret in a listing.
"""
