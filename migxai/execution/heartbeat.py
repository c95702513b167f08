"""Signs of life of held locks: a small process that sets their files' times for as long as this one lives.

A thread would not do: a registration engine keeps the interpreter's lock for minutes, and nothing else runs meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

#: Reads ``[path, inode]`` (to hold) and ``[path]`` (to let go) from its input, a line each, until that is closed: by
#: this process, or by the kernel if this process was killed. The inode keeps it from reviving a lock that was taken
#: over. Ctrl-C reaches all processes of a terminal, and must not end the signs before the owner has ended.
_PROGRAM = """
import json, os, select, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
held, text = {}, b""
while True:
    if select.select([0], [], [], float(sys.argv[1]))[0]:
        read = os.read(0, 65536)
        if not read:
            break
        *lines, text = (text + read).split(b"\\n")
        for path, *inode in map(json.loads, lines):
            held.pop(path, None)
            if inode:
                held[path] = inode[0]
    for path, inode in held.items():
        try:
            if os.stat(path).st_ino == inode:
                os.utime(path)
        except OSError:
            pass
"""


class Heartbeat:
    """Gives the signs of life of all locks of this process. One object serves all of them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._helper: subprocess.Popen[bytes] | None = None
        self._held: dict[str, int] = {}

    def start(self, path: Path, inode: int, seconds: float) -> None:
        """Begin to set the time of a lock file, every so many seconds."""
        with self._guard:
            self._held[str(path)] = inode
            if self._helper is None or self._helper.poll() is not None:
                command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(seconds)]
                self._helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
                for held in self._held.items():
                    self._tell(*held)
            else:
                self._tell(str(path), inode)

    def stop(self, path: Path) -> None:
        """Set it no more; the helper ends with the last lock."""
        with self._guard:
            self._held.pop(str(path), None)
            self._tell(str(path))
            if not self._held and self._helper is not None:
                assert self._helper.stdin is not None
                with contextlib.suppress(BrokenPipeError):
                    self._helper.stdin.close()
                self._helper.wait()
                self._helper = None

    def _tell(self, *message: str | int) -> None:
        assert self._helper is not None
        assert self._helper.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it was killed; the next lock starts another
            self._helper.stdin.write(json.dumps(message).encode() + b"\n")
            self._helper.stdin.flush()
