"""Job: the SQL behind lists, summaries, reports and ad-hoc queries, a module per kind of question.

May import: lib, cdr, store.
Must not: write to the store.
"""
