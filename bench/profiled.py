"""Runs a `linli` command under the profiler, by processor time: `python -m bench.profiled FILE web`.

By processor time, because on a busy machine the clock on the wall tells who waited, not who worked. The file, for
`pstats`, is written when the command ends by SIGINT.
"""

import cProfile
import sys
import time

from app import cli


def main() -> None:
    file, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    profile = cProfile.Profile(time.process_time)
    try:
        profile.runcall(cli.main)
    finally:
        profile.dump_stats(file)


if __name__ == "__main__":
    main()
