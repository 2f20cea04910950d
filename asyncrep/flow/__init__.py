"""asyncio helpers that know nothing of AWS.

clock.py    time as a parameter
retry.py    how often and after how long something is tried again
limiter.py  capacity units per second, shared by whoever holds the pace; slowing.py cuts it (pure)
purse.py    dollars: reserved before a call, settled after it
memory.py   bytes that stages may hold
stages.py   the pipeline on top of aiostream
tasks.py    coroutines side by side, one error staying one error
loop.py     the event loop of a process of our own
"""
