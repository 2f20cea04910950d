"""Keeps backups of tables in S3 or in folders, checks them, and restores them.

Steps of a dump: ``existing.py`` looks at what is there and refuses what would spoil it; ``dump.py`` scans the
segments, each into an object of its own (``lines.py``: gzip, one item a line), and writes a manifest when an object
is whole (``layout.py``), and one when all are (``forms.py``; ``export.py`` in AWS's export layout).

Steps of a restore: ``opening.py`` finds out what kind of backup a place holds; ``dumps.py``, ``aws_exports.py``,
``folder_reading.py``, ``point_in_time.py`` and ``standard_input.py`` each yield the items of one kind, chunk by chunk,
as ``reading.py`` describes; ``soundness.py`` reads all of it before ``restore.py`` writes anything.

Steps of a check: ``spill.py`` sorts any backup, or table, into partitions by key on disk; ``hash_join.py``
joins two of them, and what differs is confirmed as ``asyncrep.diff`` does it.

An incremental folder (``item_folder.py``) has an object for each item, and can be asked and written to by key,
like a table. ``incremental.py`` fills it, ``snapshot.py`` makes one file of it, ``history.py`` tells of one record.

Retention: ``catalog.py`` finds what there is, ``verify.py`` holds it against its manifests, ``retention.py`` chooses
(pure), ``prune.py`` removes.

Glossary:
    dump          the content of a table at one time, a file for each segment, with manifests.
    snapshot      one file with all items of an incremental folder.
    export        the layout of AWS's own exports to S3, full or incremental.
    folder        an incremental backup: one object for each item; its versions are the item's history.
    phase         parts of a backup of which the later ones are applied after the earlier ones: an export, then the
                  incremental exports that follow it.
    chunk         some items of one file, in the file's order.
"""
