"""The last words of a run: best trial, failures by cause, where the files are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mpiens.report import words
from mpiens.runtime.observer import Ending, Snapshot

_MOST_CAUSES = 5
_MOST_OF_FRONT = 5


def summarize(ending: Ending) -> str:
    """The summary, some lines of text."""
    last = ending.last
    head = f"{last.name}: {ending.outcome}"
    if ending.reason:
        head += f": {ending.reason}"
    lines = [
        head,
        f"  trials    {last.complete} complete, {last.failed} failed"
        + (f", {last.pruned} pruned" if last.pruned else "")
        + (f", {last.total - last.done} not run" if last.done < last.total else "")
        + (f", {words.count(last.retried, 'retry').replace('retrys', 'retries')}" if last.retried else ""),
        f"  time      {words.duration(last.elapsed_s)}; since the first group was ready {words.rate(last.rate_per_s)}, "
        f"groups {last.busy_share:.0%} busy",
    ]
    if last.best is not None:
        values = " ".join(f"{n}={words.number(v)}" for n, v in zip(last.objectives, last.best.values, strict=True))
        lines.append(f"  best      trial {last.best.number}: {values} with {words.params(last.best.params, 20)}")
    elif last.front:
        lines += front_lines(last)
    elif last.complete and last.objectives:
        lines.append("  best      none: no trial meets all constraints")
    lines += _by_cause("failures", last.causes, "/trials/error")
    lines += _by_cause("repeated", last.repeated, "/trials/history")
    if last.lost_ranks:
        ranks, shares = words.count(last.lost_ranks, "rank"), f"{last.lost_groups} of {last.groups} groups"
        lines.append(
            f"  warning   {ranks} and {shares} were lost"
            + ("; what they were at was given to others" if last.lost_groups < last.groups else "")
        )
    lost: dict[str, list[int]] = {}
    for group, cause in ending.lost_groups.items():
        lost.setdefault(cause, []).append(group)
    for cause, groups in list(lost.items())[:_MOST_CAUSES]:
        said = "as said above" if cause == ending.reason else cause
        lines.append(f"  lost      {_groups(groups)}: {said}")
    lines.append(f"  results   {last.run_dir / 'results.h5'}")
    lines.append(f"  log       {last.run_dir / 'run.log'}")
    if ending.outcome == "stopped":
        lines.append(f"  go on     {words.resume(last.run_dir)}")
    if last.done and last.complete + last.pruned == 0:
        lines.append("  warning   no trial has succeeded: see failures above, and tracebacks in the log")
    elif last.done and not last.complete:
        causes = "pruned or failed" if last.done > last.pruned else "pruned"
        lines.append(f"  warning   no trial has completed: all {last.done} that have ended were {causes}")
    return "\n".join(lines)


def _by_cause(heading: str, found: Mapping[str, int], place: str) -> Iterator[str]:
    causes = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    for position, (cause, many) in enumerate(causes[:_MOST_CAUSES]):
        yield f"  {heading if position == 0 else '':<9} {many} x {cause}"
    if len(causes) > _MOST_CAUSES:
        yield f"            and {len(causes) - _MOST_CAUSES} more causes, see {place} in results.h5"


def front_lines(last: Snapshot) -> list[str]:
    """The Pareto front: how many trials, and some of them, spread along it."""
    ordered = sorted(last.front, key=lambda best: (best.values, best.number))
    shown = min(len(ordered), _MOST_OF_FRONT)
    picked = [ordered[round(i * (len(ordered) - 1) / max(1, shown - 1))] for i in range(shown)]
    lines = [f"  front     {words.count(len(ordered), 'trial')}" + (", some of them:" if len(ordered) > shown else ":")]
    for best in picked:
        values = " ".join(f"{n}={words.number(v)}" for n, v in zip(last.objectives, best.values, strict=True))
        lines.append(f"            trial {best.number}: {values} with {words.params(best.params, 10)}")
    return lines


def _groups(groups: list[int]) -> str:
    if len(groups) == 1:
        return f"group {groups[0]}"
    shown = ", ".join(map(str, sorted(groups)[:8]))
    return f"groups {shown}" + (f" and {len(groups) - 8} more" if len(groups) > 8 else "")
