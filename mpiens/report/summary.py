"""The last words of a run: best trial, failures by cause, where the files are."""

from __future__ import annotations

from mpiens.report import words
from mpiens.runtime.observer import Ending

_MOST_CAUSES = 5


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
        f"  time      {words.duration(last.elapsed_s)}, {words.rate(last.rate_per_s)}, "
        f"groups {last.busy_share:.0%} busy",
    ]
    if last.best is not None:
        values = " ".join(f"{n}={words.number(v)}" for n, v in zip(last.objectives, last.best.values, strict=True))
        lines.append(f"  best      trial {last.best.number}: {values} with {words.params(last.best.params, 20)}")
    if last.causes:
        causes = sorted(last.causes.items(), key=lambda item: (-item[1], item[0]))
        for position, (cause, many) in enumerate(causes[:_MOST_CAUSES]):
            lines.append(f"  {'failures' if position == 0 else '':<9} {many} x {cause}")
        if len(causes) > _MOST_CAUSES:
            lines.append(f"            and {len(causes) - _MOST_CAUSES} more causes, see /trials/error in results.h5")
    if last.done and last.complete + last.pruned == 0:
        lines.append("  warning   no trial has succeeded")
    for group, cause in list(ending.lost_groups.items())[:_MOST_CAUSES]:
        lines.append(f"  lost      group {group}: {cause}")
    lines.append(f"  results   {last.run_dir / 'results.h5'}")
    lines.append(f"  log       {last.run_dir / 'run.log'}")
    return "\n".join(lines)
