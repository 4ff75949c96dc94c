"""Job: what people set: PBXs with their secrets, places and APIs and number plans, access tokens (`onhook.db`).

May import: cdr, errors.
Never: call details, or a secret in a listing.
"""
