"""One table in two Regions as one object: reads go to the near replica, writes to the primary.

    get_item, batch_get_item, query, scan ──> replica    with ConsistentRead, or just written: primary
    put_item, update_item, delete_item, batch_writer, transact_write_items ──> primary

- **read your writes**: for some seconds after a write through this object, reads that it concerns go to the
  primary (``recent``); which these are is told by keys, and for queries by their condition (``conditions``).
- **fall back**: where the replica cannot be reached, reads go to the primary, if that is wanted (``outage``).
"""
