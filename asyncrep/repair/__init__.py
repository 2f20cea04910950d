"""Brings a replica in line with its primary: guarded repair, deletions, backfill, single records.

Steps:
    plan.py      which mutation mends a discrepancy, and under which precondition (pure)
    mend.py      writes a batch, verifies it against the primary, goes round again where that moved
    spool.py     keeps the keys of deletions until both walks are complete
    runner.py    ``repair``: diff and mend in one pipeline, then the deletions
    backfill.py  ``backfill``: fill a new replica
    record.py    ``diff_record`` and ``replicate_record``: one record
"""
