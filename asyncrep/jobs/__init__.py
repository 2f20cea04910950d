"""What outlives a run: the journal of what it wrote, and how far it came.

Steps:
    entries.py  the lines of a journal: header, intent, outcome; made and read (pure)
    log.py      group commit: whoever hands lines over at the same time shares one durable write
    media.py    where a journal's lines are kept: an owner-only file, or objects in S3
    journal.py  ``open_journal``: notes every write before it is sent, and its outcome after it
    history.py  ``read_journal``: what a journal holds, in order, damaged lines told
    chains.py   what a journal tells of each record, newest first
    mark.py     how far a run has come: what a checkpoint holds (pure)
    job.py      ``open_job``: the state of a job, which several processes bring to its end one after the other
    store.py    where that state is kept: a folder, or objects in S3, for one process at a time
    lock.py     the lock of a folder
    unsaid.py   what a journal tells and a mark does not
    place.py    what a job may be called, and where it is
    listing.py  finds jobs, tells how they are, removes them
    merge.py    adds up jobs that looked at parts of one pair of tables
    folders.py  the state folder, and folders that only their owner may enter

Glossary:
    intent        the line that says what is about to be written, and the image it is about to change.
                  A write is sent only when its intent is durable.
    outcome       the line that says what became of it: applied or not, with the old image the service
                  returned; or why that is not known.
    writer        one process that writes to a journal, ``by`` in its lines. It numbers its intents from 1.
    commit        one write of whole lines, made durable: an append and fsync, or one object.
    job           a run that goes on after an interruption. Its *state* is one document that is replaced as a
                  whole; what was put aside is in *parts* that are written before the state that names them.
    mark          how far the run was at one moment: per side and segment the last key that left the scan,
                  what was met and is undecided, and the counts of everything else.
    undecided     met by a scan and not counted: looked up, confirmed or repaired at that moment.
    unsaid        written, says the journal, and not counted, says the mark.
    durable       it survives the end of the process and of the machine, as far as the medium promises.
"""
