"""The journal: frames, torn tails, failures of the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiens.errors import StoreError
from mpiens.store.journal import FRAME_BYTES, START, Journal, damage_behind, is_sound, read_frames, recover

PAYLOADS = [b"first", b"\0" * 9, b"x", bytes(range(200))]


def written(path: Path, payloads: list[bytes] = PAYLOADS) -> Path:
    journal = Journal(path)
    for payload in payloads:
        journal.append(payload)
    journal.close()
    return path


def payloads(path: Path, **options: bool) -> list[bytes]:
    return [payload for _end, payload in read_frames(path, **options)]


def test_frames_come_back_in_order_with_their_ends(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    frames = list(read_frames(path))
    assert [payload for _end, payload in frames] == PAYLOADS
    assert frames[-1][0] == path.stat().st_size
    assert [payload for _end, payload in read_frames(path, frames[1][0])] == PAYLOADS[2:]


@given(parts=st.lists(st.lists(st.binary(min_size=1, max_size=50), max_size=4), max_size=5))
def test_any_payloads_come_back_over_any_number_of_sessions(
    parts: list[list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    for part in parts:
        journal = Journal(path)
        journal.append(*part)
        journal.close()
    assert not parts or payloads(path) == [payload for part in parts for payload in part]


def test_torn_at_every_byte_the_whole_frames_stay(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole").read_bytes()
    ends = [START, *(end for end, _payload in read_frames(tmp_path / "whole"))]
    torn = tmp_path / "torn"
    for length in range(len(whole) + 1):
        torn.write_bytes(whole[:length])
        kept = sum(end <= length for end in ends[1:])
        assert payloads(torn) == PAYLOADS[:kept]
        assert is_sound(torn) == (length in ends)
        assert recover(torn) == ends[kept]
        assert torn.stat().st_size == (ends[kept] if length >= START else 0)
        journal = Journal(torn)
        journal.append(b"after")
        journal.close()
        assert payloads(torn) == [*PAYLOADS[:kept], b"after"]


@pytest.mark.parametrize("length", [1, 7, 8, 9, 5000])
def test_a_tail_of_zeros_is_no_frame(tmp_path: Path, length: int) -> None:
    path = written(tmp_path / "j")
    with path.open("ab") as file:
        file.write(b"\0" * length)
    assert payloads(path) == PAYLOADS
    recover(path)
    assert is_sound(path)


def test_a_file_of_zeros_becomes_an_empty_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"\0" * 100)
    journal = Journal(path)
    journal.append(b"a")
    journal.close()
    assert payloads(path) == [b"a"]


def test_a_damaged_byte_anywhere_costs_no_more_than_its_own_record(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    whole = path.read_bytes()
    ends = [START, *(end for end, _payload in read_frames(path))]
    for place in range(START, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        hit = sum(end <= place for end in ends[1:])
        assert payloads(path) == PAYLOADS[:hit]
        assert payloads(path, resync=True) == PAYLOADS[:hit] + PAYLOADS[hit + 1 :]


def test_sound_frames_behind_a_long_one_are_found(tmp_path: Path) -> None:
    long = [b"L" + bytes([number]) * 2**21 for number in range(3)]
    path = written(tmp_path / "j", long)
    data = bytearray(path.read_bytes())
    data[START + FRAME_BYTES + len(long[0]) + 3] ^= 64  # its length is now more than the file has
    path.write_bytes(data)
    assert payloads(path) == long[:1]
    assert payloads(path, resync=True) == [long[0], long[2]]


def test_damage_is_told_from_what_a_kill_leaves(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    sound = path.read_bytes()
    last = START + sum(FRAME_BYTES + len(payload) for payload in PAYLOADS[:-1])
    assert damage_behind(path, len(sound)) == ""
    for size in range(last, len(sound)):
        path.write_bytes(sound[:size])
        assert damage_behind(path, last) == "", "cut short"
    path.write_bytes(sound[:-30] + bytes(30))
    assert damage_behind(path, last) == "", "zeros after a loss of power"
    path.write_bytes(sound[:-1] + b"?")
    assert damage_behind(path, last) == f"{len(sound) - last} bytes from byte {last} on"
    path.write_bytes(b"?" + sound[1:])
    with pytest.raises(StoreError, match="not a journal"):
        payloads(path)
    assert payloads(path, resync=True) == PAYLOADS
    assert damage_behind(path, len(sound)) == "its first bytes"


def test_what_is_no_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"name: my spec\nseed: 1\n")
    with pytest.raises(StoreError, match="j: not a journal"):
        Journal(path)
    assert path.read_bytes().startswith(b"name")


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    data = bytearray(path.read_bytes())
    data[8] = 2
    path.write_bytes(data)
    with pytest.raises(StoreError, match="version 2"):
        payloads(path)


def test_an_empty_payload_and_a_closed_journal_are_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    with pytest.raises(StoreError, match="1 to"):
        journal.append(b"good", b"")
    assert journal.end == START
    journal.close()
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        journal.append(b"late")


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    journal = Journal(tmp_path / "j")
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    journal.append(*PAYLOADS)
    journal.close()
    assert payloads(tmp_path / "j") == PAYLOADS


def test_a_full_disk_leaves_no_half_record_and_later_appends_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    write, cut = os.write, os.ftruncate
    journal = Journal(path)
    journal.append(b"before")

    def half(fd: int, data: bytes) -> int:
        if len(data) < 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, bytes(data[:10]))

    def refuse(fd: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(StoreError, match=r"No space left.*make space"):
        journal.append(b"lost 1")
    assert is_sound(path)
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(StoreError, match="No space left"):
        journal.append(b"lost 2")
    assert not is_sound(path)
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StoreError, match="cut off"):
        journal.append(b"lost 3")
    monkeypatch.setattr(os, "ftruncate", cut)
    journal.append(b"after")
    journal.close()
    assert payloads(path) == [b"before", b"after"]


def test_a_failed_sync_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(b"a")
    sync = os.fsync

    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match="Input/output"):
        journal.sync()
    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(StoreError, match="Input/output"):
        journal.sync()
    with pytest.raises(StoreError, match="Input/output"):
        journal.close()


def test_sync_costs_nothing_when_there_is_nothing_to_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    journal.sync()
    journal.append(b"a")
    journal.sync()
    journal.sync()
    assert len(synced) == 1
    journal.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no/j: cannot open the journal: No such file"):
        Journal(tmp_path / "no" / "j")


def test_frame_bytes(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(b"12345")
    assert journal.end == START + FRAME_BYTES + 5
    journal.close()
