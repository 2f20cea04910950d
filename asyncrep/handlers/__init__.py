"""Entry points for AWS Lambda: plain functions around one event loop, and around what was opened once.

Words:

    container   what Lambda runs one invocation after the other in; it may be frozen between two
    cold start  the first invocation of a container, and what is imported before it
    handler     the function that Lambda calls with an event and a context
    setting     an environment variable of the function

``replicate_handler``, ``backup_handler`` and ``segment_handler`` make handlers, for a module of one's own; they
read their settings when they are called, so that a wrong one fails the cold start. A function made of
``make lambda``'s zip names ``asyncrep.handlers.entry.replicate``, ``….backup`` or ``….segment``.

An invocation that ends early, also by an exception from outside, leaves nothing behind that would go on in
the next one. Services with an event loop of their own use the coroutines that handlers are made of:
``asyncrep.replicate.apply.replicate_records``, ``asyncrep.repair``.
"""

from asyncrep.handlers.backup import backup_handler
from asyncrep.handlers.replicate import replicate_handler
from asyncrep.handlers.segment import segment_handler
from asyncrep.handlers.settings import BackupSettings, ReplicaSettings

__all__ = ["BackupSettings", "ReplicaSettings", "backup_handler", "replicate_handler", "segment_handler"]
