"""Compares two sources and streams what is confirmed to differ.

Steps:
    run.py        what one run shares: both sides, limits, report, observer; checks before the start
    sample.py     which segments a sample looks at, and what finding drift in so many of them proves
    dual_scan.py  the strategy ``dual-scan``: scans both sides at once, joins, probes what is left
    join.py       the join of one segment: same bytes in the same order, else by key (pure)
    batch_get.py  the strategy ``batch-get``: scans one side and probes the other by key
    probe.py      asks one side by key for what was met on the other: candidates
    confirm.py    reads candidates strongly, P1 · settle · R · P2, and judges them
    expiry.py     which items TTL has given up
    cause.py      what has likely led to a discrepancy, and what that rests on (pure)
    owners.py     which side's scan tells a discrepancy, so that none is told twice
    spool.py      keeps any number of records for later: on disk, when they are many
    track.py      what was begun and is not decided, so that at any moment it is known how far a run is
    resume.py     takes up what an interrupted run left undecided, or wrote and did not tell
    saving.py     saves how far a run is into its job
    pipeline.py   puts the steps together; ``diff`` and what repair builds on

A check of a backup (``asyncrep.backup.check``) brings walks of its own, ``hash-join``, and is confirmed, told and counted
by the same steps.

Glossary:
    lane          one segment that is being joined, both its scans open.
    set aside     taken out of the order the items came in, to meet its partner by key.
    window        what was set aside and waits, all lanes together; its memory is bounded.
    loose         a record that met no partner, or one that differs; it is probed, or confirmed.
    candidate     a record on which eventually consistent reads disagreed. A scan is no snapshot and a
                  replica lags, so it is no more than that.
    open          said of a record that a scan has passed and nobody has decided.
    owned         said of a record that somebody was told of and has not concluded.
    unsaid        said of a write that a journal tells of and no report.
    verdict       what confirmation makes of a candidate: settled, or a discrepancy.
"""
