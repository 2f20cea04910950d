"""Keeps backups of tables in S3 or in folders, checks them, and restores them.

Steps of a dump: ``existing.py`` looks at what is there and refuses what would spoil it; ``dump.py`` scans the
segments, each into an object of its own (``lines.py``: gzip, one item a line), and writes a manifest when an object
is whole (``layout.py``), and one when all are (``forms.py``; ``export.py`` in AWS's export layout).

Steps of a restore: ``reading.py`` finds out what kind of backup a place holds and yields its items, chunk by
chunk; ``restore.py`` writes them.

Steps of a check: ``spill.py`` sorts any backup, or table, into partitions by key on disk; ``hash_join.py``
joins two of them, and what differs is confirmed as ``asyncrep.diff`` does it.

An incremental folder (``item_folder.py``) has an object for each item, and can be asked and written to by key,
like a table.

Glossary:
    dump          the content of a table at one time, a file for each segment, with manifests.
    snapshot      one file with all items of an incremental folder.
    export        the layout of AWS's own exports to S3, full or incremental.
    folder        an incremental backup: one object for each item; its versions are the item's history.
    phase         parts of a backup of which the later ones are applied after the earlier ones: an export, then the
                  incremental exports that follow it.
    chunk         some items of one file, in the file's order.
"""
