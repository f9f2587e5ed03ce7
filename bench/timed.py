"""`python -I -S bench/timed.py TARGET COMMAND…`: run a command until TARGET is durable; print what it took as JSON.

A program of its own, with nothing imported: the kernel counts what a process held when it was forked as the peak of
the program that it then becomes, and the benchmark itself holds more than the programs that it measures.
"""

import json
import os
import sys
import time

target, command = sys.argv[1], sys.argv[2:]
begun = time.monotonic()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
_, status, usage = os.wait4(os.posix_spawnp(command[0], command, os.environ, file_actions=quiet), 0)
fd = os.open(target, os.O_RDWR)
os.fsync(fd)
seconds = time.monotonic() - begun
told = {"code": os.waitstatus_to_exitcode(status), "seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime}
print(json.dumps(told | {"peak": usage.ru_maxrss * 1024}))
