"""The report: figures under dotted keys, and the expectations on them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Line:
    title: str
    measured: str
    expected: str
    met: bool


@dataclass
class Report:
    figures: dict[str, Any] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def figure(self, key: str, value: Any) -> None:
        node = self.figures
        *path, last = key.split(".")
        for name in path:
            node = node.setdefault(name, {})
        node[last] = value

    def expect(self, key: str, title: str, value: Any, expected: str, met: bool, shown: str | None = None) -> None:
        """A figure with an expectation: `expected` says it in words, `met` whether it holds."""
        self.figure(key, value)
        self.lines.append(Line(title, str(value) if shown is None else shown, expected, met))

    @property
    def passed(self) -> bool:
        return all(line.met for line in self.lines)

    def print_new(self, already: int) -> int:
        for line in self.lines[already:]:
            print(f"  {'ok  ' if line.met else 'FAIL'}  {line.title:52} {line.measured:>16}   {line.expected}", flush=True)
        return len(self.lines)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        failed = [line.title for line in self.lines if not line.met]
        path.write_text(json.dumps({**self.figures, "passed": self.passed, "failed": failed}, indent=2) + "\n")
