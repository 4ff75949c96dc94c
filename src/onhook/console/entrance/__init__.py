"""Job: who may come in: tokens, sessions, wrong tries, and what every answer forbids a browser.

May import: settings, errors, clock, config, signing.
Never: what is shown inside.
"""
