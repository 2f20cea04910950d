"""A world without sockets, files or real time, in which a seed decides everything that happens.

loop.py     an event loop whose time passes only while everybody waits
tables.py   two tables as ``Source`` and ``Destination``, with stale reads, lost answers and late writes
objects.py  S3, in which the journal and the job are kept
world.py    the writers on both sides, the replication between them, processes that crash
witness.py  sees what strong reads showed, what writes took away, and what the journal says of it
story.py    what happens for one seed, and what must be true along the way
knobs.py    constants of asyncrep made small, so that few records do what many would
"""
