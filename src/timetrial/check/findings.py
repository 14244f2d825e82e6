"""What checks find, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "note", "fail"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found: a fault, or something its author should know."""

    message: str
    """What was done, in one sentence."""
    where: str = ""
    """File and line, as far as they can be told."""
    serious: bool = True
    """Whether it disqualifies or breaks the submission."""
    rule: str = ""
    """Which check it belongs to, where the sentinel found it."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check and what it found."""

    name: str
    findings: Sequence[Finding] = ()
    detail: str = ""
    """What was looked at, where nothing is wrong."""

    @property
    def verdict(self) -> Verdict:
        """`fail` with a serious finding, `note` with others, else `pass`."""
        if any(finding.serious for finding in self.findings):
            return "fail"
        return "note" if self.findings else "pass"


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """All checks of one submission."""

    submission: str
    checks: Sequence[Check] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.verdict != "fail" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "submission": self.submission,
            "passed": self.passed,
            "checks": [
                {
                    "check": check.name,
                    "verdict": check.verdict,
                    "detail": check.detail,
                    "findings": [asdict(finding) for finding in check.findings],
                }
                for check in self.checks
            ],
        }


def line_of(function: Any) -> str:
    """Return file and line where a function was written; nothing for one that is not Python's."""
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


def unique(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings without repetitions, in their order."""
    return list(dict.fromkeys(findings))
