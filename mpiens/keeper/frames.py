"""Values over a pipe: a length, then MessagePack. Data, never code."""

from __future__ import annotations

import os
import select
import struct
from typing import Any

import msgpack

_HEAD = struct.Struct("<Q")
HEAD_BYTES = _HEAD.size
_PIECE = 1 << 20
_TAKEN_BYTES = 1 << 16


def write_frame(fd: int, value: Any) -> None:
    """Write `value`.

    Raises:
        BrokenPipeError: Nobody reads any more.
    """
    payload: bytes = msgpack.packb(value, default=_plain)
    view = memoryview(_HEAD.pack(len(payload)) + payload)
    while view:
        view = view[os.write(fd, view) :]


def read_frame(fd: int) -> Any:
    """Wait for the next value.

    Raises:
        EOFError: The other end is closed.
    """
    (length,) = _HEAD.unpack(_read(fd, _HEAD.size))
    return msgpack.unpackb(_read(fd, length), strict_map_key=False)


def is_there(fd: int, timeout_s: float | None) -> bool:
    """True as soon as there is something to read, or the other end is closed; False when the time is over."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else 1000 * timeout_s))


def take_in(fd: int, data: bytearray) -> int:
    """Append some of what is there to read; how many bytes, 0 at the end, -1 when nothing is there yet."""
    try:
        found = os.read(fd, _TAKEN_BYTES)
    except BlockingIOError:
        return -1
    except ConnectionResetError:
        return 0
    data += found
    return len(found)


def frame_bytes(data: bytes | bytearray) -> int:
    """Size of the value that begins here, with its length."""
    return HEAD_BYTES + int(_HEAD.unpack_from(data)[0])


def parse_frame(data: bytes | bytearray) -> Any:
    """The one value in `data`.

    Raises:
        EOFError: It is not whole.
    """
    if len(data) < _HEAD.size or len(data) != frame_bytes(data):
        raise EOFError
    return msgpack.unpackb(memoryview(data)[_HEAD.size :], strict_map_key=False)


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays, which parameters may be."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"cannot pack {type(value).__name__}")


def _read(fd: int, length: int) -> bytes:
    parts = []
    while length:
        part = os.read(fd, min(length, _PIECE))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
