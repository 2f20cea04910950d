"""An AWS of one's own: moto's server in this process, with real airports in two regions that have drifted.

Nothing here imports moto, boto3 or the data before it is used: they come with the extra `demo`.
"""

from asyncrep.sandbox.seeding import Seeded, seed
from asyncrep.sandbox.server import EmbeddedAws

__all__ = ["EmbeddedAws", "Seeded", "seed"]
