"""What a full check of two tables costs, told before anything is spent.

Steps:
    prices.py    what a unit and a gigabyte cost, by Region; ``prices.toml`` is the table, a file may override it
    tables.py    the two tables as the sums see them: Region, capacity, number and size of items
    sample.py    reads a few pages of a table, because emulators and new tables tell no sizes
    sums.py      capacity units, bytes, dollars and seconds of each strategy (pure)
    plan.py      both strategies side by side, and the choice between them (pure)
    notes.py     what is assumed, and what the reader should know about the figures (pure)

Glossary:
    unit          one read request unit (RRU): 4 KB read strongly consistent, 8 KB eventually consistent.
                  On a provisioned table it is a capacity unit: the same sums, paid by the hour instead.
    write unit    1 KB written. An update counts the larger of the item before and after.
    probe         asking the other side for one item by its key. DynamoDB rounds each probed item up to
                  4 KB and counts a missing one like a small one; a scan rounds only whole pages up.
    dual-scan     scans both tables and joins them; only items that do not join are probed.
    batch-get     scans each table and probes the other one for every item met.
    drift         the items that are missing, different or extraneous; each is confirmed by strong reads.
    worst case    the two tables have no item in common: every item is drift.
    rough         a count extrapolated from a sample, because nobody tells it.
"""
