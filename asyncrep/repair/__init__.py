"""Brings a replica in line with its primary: guarded repair, deletions, backfill, single records.

Steps:
    plan.py      which mutation mends a discrepancy, and under which precondition (pure)
    mend.py      writes a batch, verifies it against the primary, goes round again where that moved
    rules.py     what a repair may do, and where it may write
    findings.py  diff and mend in one pipeline; what is to be deleted is put aside
    deletions.py deletes, when both walks are complete and within the rules
    runner.py    ``repair``: the findings, then the deletions
    backfill.py  ``backfill``: fill a new replica
    backfill_folder.py  the same of an incremental folder, where what is there is brought up to date
    filling.py   the batches that both of them begin with
    stored.py    ``repair_stored``: what a stored diff lists, where both sides are still as it says
    stored_diff.py  reads a stored diff, checked line by line
    review.py    what of a record changed since somebody reviewed it (pure)
    undo.py      ``undo``: takes back what a journal records as applied
    take_back.py how the writes to one record are taken back, newest first (pure)
    record.py    ``diff_record`` and ``replicate_record``: one record
    explain.py   ``explain``: the story of one record
    past.py      what a journal tells of one record
    story.py     that story in sentences (pure)
"""
