"""All input and output with AWS; the only place that knows aioboto3, botocore and aiohttp.

How a call goes:
    table.py     a table as the rest of asyncrep sees it: pages, get, apply, write_all
    place.py     where a table is and how to reach it, also for another process
    scan.py read.py write.py guard.py
                 make request bodies out of raw slices and cut answers into raw slices
    transact.py  the same for several items at once, also of another table beside it: all or none
    beside.py    looks at and makes tables beside an open one, by its connection
    capacity.py  counts the units every answer reports and paces the calls
    client.py    sends one body, checks the answer's checksum, tries again what can be tried again
    session.py   makes the aioboto3 client: credentials, Region, endpoint, role
    lease.py leases.py
                 the lease table of a task: who follows which shard, and how far
    objects.py   objects in S3: put under a condition, read, list, remove
    identity.py  whose credentials a place's calls are made with: the account and the Region
    errors.py    turns every exception of botocore and aiohttp into one of ``asyncrep.errors``
"""
