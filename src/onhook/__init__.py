"""Onhook keeps every call that ends: both ends of the PBX event 30012, "Call End Details Notification".

Job: the house itself; its rooms and who may enter which are drawn in ARCHITECTURE.md.
May import: nothing.
Never: holds code.
"""
