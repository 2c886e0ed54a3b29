"""What a program prints, kept in a file of bounded size."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

KEPT_BYTES = 8 << 20
"""How much is kept of the beginning, and again of the end."""

_PIECE = 1 << 16


class OutputFile:
    """Takes in what comes through a pipe: the beginning goes to the file at once, the end when it is closed.

    Args:
        fd: The pipe's end to read from.
        path: The file; made when the first byte comes.
        kept_bytes: How much to keep of the beginning, and again of the end.

    Attributes:
        error: Why it could not be written, or an empty text.
    """

    def __init__(self, fd: int, path: str, kept_bytes: int = KEPT_BYTES) -> None:
        self.fd = fd
        self.error = ""
        self._path = Path(path)
        self._kept_bytes = kept_bytes
        self._file: int | None = None
        self._total = 0
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def pump(self) -> int:
        """Take in some of what is there; how many bytes, 0 at the end of the pipe, -1 when nothing is there yet."""
        try:
            data = os.read(self.fd, _PIECE)
        except BlockingIOError:
            return -1
        if not data:
            return 0
        count = len(data)
        room = self._kept_bytes - self._total
        self._total += len(data)
        if room > 0:
            self._write(data[:room])
            data = data[room:]
        if data:
            self._tail.append(data)
            self._tail_bytes += len(data)
            while self._tail_bytes - len(self._tail[0]) >= self._kept_bytes:
                self._tail_bytes -= len(self._tail.popleft())
        return count

    def close(self) -> dict[str, int | str]:
        """Close pipe and file.

        Returns:
            `total`: how many bytes came; `left_out`: how many of the middle are not in the file; `end_at`: where in the
            file what follows these begins; `error`.
        """
        os.close(self.fd)
        left_out = self._total - min(self._total, self._kept_bytes) - self._tail_bytes
        end_at = 0
        if left_out:
            note = f"\n[mpiens: {left_out} bytes left out here]\n".encode()
            end_at = self._kept_bytes + len(note)
            self._write(note)
        for part in self._tail:
            self._write(part)
        if self._file is not None:
            os.close(self._file)
        return {"total": self._total, "left_out": left_out, "end_at": end_at, "error": self.error}

    def _write(self, data: bytes) -> None:
        if self.error:
            return
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o666)
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self.error = f"{self._path}: {error.strerror}"
