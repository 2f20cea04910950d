"""What outlives a run: the journal of what it wrote.

Steps:
    entries.py  the lines of a journal: header, intent, outcome; made and read (pure)
    log.py      group commit: whoever hands lines over at the same time shares one durable write
    media.py    where a journal's lines are kept: an owner-only file, or objects in S3
    journal.py  ``open_journal``: notes every write before it is sent, and its outcome after it
    history.py  ``read_journal``: what a journal holds, in order, damaged lines told
    chains.py   what a journal tells of each record, newest first
    folders.py  the state folder, and folders that only their owner may enter

Glossary:
    intent        the line that says what is about to be written, and the image it is about to change.
                  A write is sent only when its intent is durable.
    outcome       the line that says what became of it: applied or not, with the old image the service
                  returned; or why that is not known.
    writer        one process that writes to a journal, ``by`` in its lines. It numbers its intents from 1.
    commit        one write of whole lines, made durable: an append and fsync, or one object.
    durable       it survives the end of the process and of the machine, as far as the medium promises.
"""
