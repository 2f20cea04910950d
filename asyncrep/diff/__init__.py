"""Compares two sources and streams what is confirmed to differ.

Steps:
    run.py        what one run shares: both sides, limits, report, observer; checks before the start
    batch_get.py  walks one side by parallel scans and probes the other by key: candidates
    confirm.py    reads candidates strongly, P1 · settle · R · P2, and judges them
    expiry.py     which items TTL has given up
    pipeline.py   puts the steps together; ``diff`` and what repair builds on

Glossary:
    candidate     a record on which a scan and an eventually consistent read disagreed. A scan is no
                  snapshot and a replica lags, so it is no more than that.
    verdict       what confirmation makes of a candidate: settled, or a discrepancy.
"""
