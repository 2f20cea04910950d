"""The first steps of a worker process; run as a script, ``python -P start.py PATH…``.

Before anything else is imported, Ctrl-C is left to the leading process, and stdout, which carries the
news, is moved out of the way of whatever prints. ``-P`` and the leading process's own ``sys.path`` as
arguments see to it that both import the same modules, and none of the folder they are started in.
"""

import os
import signal
import sys


def start() -> None:
    """Prepare the process, and work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    news = os.dup(1)
    if sys.stderr is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.dup2(2, 1)
    sys.path[:] = sys.argv[1:]

    from asyncrep.parallel.worker import main  # noqa: PLC0415 - only now is it safe to print and to be interrupted

    main(news)


if __name__ == "__main__":
    start()
