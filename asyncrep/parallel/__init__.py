"""Spreads the segments of a run over processes: one Python process uses one core.

Steps:
    messages.py   what both kinds of process say to each other, over pipes
    lead.py       the leading process: checks, has all segments done, deletes last
    pool.py       cuts segments into shares, hands them to workers, merges what they tell
    hire.py       starts workers and sees them off
    start.py      a worker's first steps, before it imports anything
    worker.py     a working process: one event loop, one share at a time, told as it goes

Glossary:
    share         some segments of the run, given to one worker at a time. When the worker dies, the whole
                  share is done again by another, which is told what the first had concluded already.
    told          a record that a worker has concluded and the leading process has passed on.
"""
