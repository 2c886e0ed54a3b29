"""Pages of the documentation, and the blocks in them that tests carry out.

A fenced block says by its language, or by an HTML comment in front of it, what it is:

=========================== ==========================================================================================
block                       the test
=========================== ==========================================================================================
``bash``                    runs it in the page's folder; a ``cd`` lasts. ``<!-- exit: 2 -->``: with that exit status
``python``                  executes it; all blocks of a page share one namespace
``<!-- file: NAME -->``     writes it to NAME; one that is a spec must load
``<!-- spec -->``           a whole spec: must load, and hold nothing that this version refuses
``<!-- part: KEY KEY -->``  parts of a spec with these keys: a small spec with these parts must load likewise
``<!-- output -->``         must be what the step before has printed; ``...`` stands for anything.
                            ``<!-- output: numbers vary -->``: a number stands for any number
``json``                    must parse
``text``                    an illustration: not run
``<!-- shared: network -->``  a command that runs the network example: it is run once for all pages
``<!-- elsewhere: WHY -->`` cannot run here: only its syntax is checked, and the test lists it by name
``<!-- setup -->``          sets up an environment: has a test of its own
``{directive}``             a directive of Sphinx: no code
=========================== ==========================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_FENCE = re.compile(r"^( *)(`{3,}|~{3,}|:{3,})(\{?[\w-]*\}?)")
_MARK = re.compile(r"^ *<!-- (spec|file|part|output|exit|shared|elsewhere|setup)(?:: (.*?))? -->$")
_PLAIN_KINDS = ("bash", "python", "json", "text")
_MARKED_LANGUAGES = ("bash", "python", "yaml", "text")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: Its page, relative to the repository.
        line: Line of its fence, from 1.
        kind: What it is, see above.
        detail: What stands behind the colon of its comment.
        language: Word behind the fence.
        text: Its content.
    """

    page: str
    line: int
    kind: str
    detail: str
    language: str
    text: str

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.page}:{self.line}"


def all_pages() -> list[str]:
    """Every page that users read, relative to the repository."""
    found = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*/README.md"),
    ]
    names = [path.relative_to(ROOT).as_posix() for path in found]
    return sorted(name for name in names if not name.startswith("docs/_"))


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, in order.

    Raises:
        ValueError: It is not said what one of them is, or a comment belongs to no block.
    """
    return parse(page, (ROOT / page).read_text(encoding="utf-8"))


def parse(page: str, text: str) -> list[Block]:
    """As `blocks_of`, for a text."""
    blocks: list[Block] = []
    mark: re.Match[str] | None = None
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if fence := _FENCE.match(line):
            indent, ticks, language = fence.groups()
            content = []
            for _, inner in lines:
                if inner.strip() == ticks:
                    break
                content.append(inner.removeprefix(indent))
            else:
                raise ValueError(f"{page}:{number}: this block does not end")
            if not language.startswith("{"):
                kind, detail = _kind(page, number, language, mark)
                blocks.append(Block(page, number, kind, detail, language, "\n".join(content) + "\n"))
            mark = None
        elif found := _MARK.match(line):
            mark = found
        elif line.strip() and mark is not None:
            raise ValueError(f"{page}:{number}: a comment that names a block must stand right above it")
    if mark is not None:
        raise ValueError(f"{page}: the last comment names no block")
    return blocks


def _kind(page: str, number: int, language: str, mark: re.Match[str] | None) -> tuple[str, str]:
    if mark is not None:
        if language not in _MARKED_LANGUAGES:
            raise ValueError(f"{page}:{number}: unknown language {language!r}")
        kind, detail = mark[1], mark[2] or ""
        return ("bash" if kind == "exit" else kind), detail
    if language not in _PLAIN_KINDS:
        raise ValueError(f"{page}:{number}: what is this {language or 'bare'} block? A comment above it must say")
    return language, ""
