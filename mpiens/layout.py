"""Who does what in a world of N ranks: driver, writers, groups. Pure: numbers in, a plan out."""

from __future__ import annotations

from dataclasses import dataclass

from mpiens.errors import LayoutError


@dataclass(frozen=True, slots=True)
class Layout:
    """The part of every rank.

    Attributes:
        world_size: Ranks in all.
        writers: Ranks that only write results; empty when the driver does it.
        groups: Ranks of each group; the first of each is the group's root.
        idle: Ranks that fill no group.
        warnings: What a user should know about this plan, a sentence each.
    """

    world_size: int
    writers: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    idle: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    driver = 0

    @property
    def is_serial(self) -> bool:
        """True when the only rank drives and simulates."""
        return self.world_size == 1

    @property
    def group_size(self) -> int:
        """Ranks in each group."""
        return len(self.groups[0])

    def group_of(self, rank: int) -> int | None:
        """Index of the group that `rank` is a member of, or None."""
        for index, members in enumerate(self.groups):
            if members[0] <= rank <= members[-1]:
                return index
        return None

    def writer_of(self, group: int) -> int:
        """Rank that writes what this group finds."""
        return self.writers[group % len(self.writers)] if self.writers else self.driver

    def describe(self) -> str:
        """The plan in a few lines, for people."""
        if self.is_serial:
            return "rank 0: driver and the only group (serial)"
        lines = ["rank 0: driver" + ("" if self.writers else " and writer")]
        if self.writers:
            lines.append(f"{_ranks(self.writers)}: {_count(len(self.writers), 'writer')}")
        shown = self.groups if len(self.groups) <= 8 else (*self.groups[:4], (), *self.groups[-2:])
        for members in shown:
            lines.append(f"{_ranks(members)}: group {self.group_of(members[0])}" if members else "...")
        if self.idle:
            lines.append(f"{_ranks(self.idle)}: idle")
        return "\n".join(lines)


def plan(world_size: int, group_size: int = 1, writers: int = 0, max_concurrent: int | None = None) -> Layout:
    """Share out the ranks: 0 drives, 1 to `writers` write, the rest form groups of neighbouring ranks.

    Args:
        world_size: Ranks in all, from 1. One rank drives and simulates, whatever `group_size` says.
        group_size: Ranks per group.
        writers: Ranks that only write.
        max_concurrent: At most so many groups.

    Raises:
        LayoutError: There are too few ranks for one group.
    """
    if world_size == 1:
        serial = (
            (f"groups.size: {group_size} needs {1 + writers + group_size} ranks; the one rank here runs groups of 1",)
            if group_size > 1
            else ()
        )
        return Layout(1, (), ((0,),), (), serial)
    workers = world_size - 1 - writers
    if workers < group_size:
        fitting = world_size - 1 - group_size
        besides = "the driver" + (f" and {_count(writers, 'writer')}" if writers else "")
        raise LayoutError(
            f"groups.size: {group_size} needs at least {1 + writers + group_size} ranks "
            f"({besides} and one group); this world has {world_size}"
            + (f"; sizes that fit: 1 to {workers}" if workers > 1 else "; size 1 fits" if workers == 1 else "")
            + (f"; store.writers: {fitting} fits too" if writers and fitting >= 0 else "")
        )
    count = workers // group_size
    warnings: tuple[str, ...] = ()
    if count * group_size < workers:
        sizes = ", ".join(str(size) for size in range(1, workers + 1) if workers % size == 0)
        left = range(1 + writers + count * group_size, world_size)
        warnings = (
            f"groups.size: {group_size} does not divide the {workers} worker ranks; {_ranks(left)} "
            f"{'stays' if len(left) == 1 else 'stay'} idle; sizes that do: {sizes}",
        )
    if max_concurrent is not None and max_concurrent < count:
        warnings += (f"groups.max_concurrent: only {max_concurrent} of {_count(count, 'group')} will be used",)
        count = max_concurrent
    first = 1 + writers
    groups = tuple(
        tuple(range(start, start + group_size)) for start in range(first, first + count * group_size, group_size)
    )
    idle = tuple(range(first + count * group_size, world_size))
    return Layout(world_size, tuple(range(1, first)), groups, idle, warnings)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _ranks(ranks: tuple[int, ...] | range) -> str:
    first, last = ranks[0], ranks[-1]
    if first == last:
        return f"rank {first}"
    return f"ranks {first} and {last}" if last == first + 1 else f"ranks {first} to {last}"
