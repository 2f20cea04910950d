"""Replicates tables continuously: reads a stream's shards and brings their changes to the destinations.

Glossary:
    shard        a part of a stream, in order; when it ends, its children go on with its keys
    sequence     a record's place in the order of its shard; numbers of a child are above its parent's
    lease        who follows a shard and how far; a row of the task's lease table (``aws/leases.py``)
    checkpoint   the last record of a shard that all destinations hold durably; it never goes back
    task         the replication of one table to its destinations, by any number of workers
    worker       a process that holds some of a task's leases
    failover     after so long without a renewal a lease is anybody's

Who does what:
    shards.py       which leases a listing of shards needs, and when a shard may be begun; pure
    assignment.py   which leases a worker takes; pure
    held.py         one lease that this worker holds, and how long it is ours for certain
    coordinator.py  takes, renews and loses leases, and has their shards followed
    records.py      makes changes of a stream's records, as GetRecords and Lambda give them; pure
    selection.py conditions.py
                    what is replicated, and how users write that; pure
    grouping.py     groups of changes by item, side by side, and the tally of what became of them
    one_way.py sequences.py versions.py
                    the three policies for tables, each an ``asyncrep.change.Applier``
    guard.py        the guard table, which the last two write in one transaction with the items
    facts.py        the one order of versions and deletions that two-way mirrors agree on; pure
"""
