"""Job: the command line, a module per group of commands.

May import: all packages.
Must not: hold a rule, or be imported by another package.
"""
