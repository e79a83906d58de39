"""`python -m course.bugs`: put each bug in, and see it found."""

import argparse
import sys
from pathlib import Path

from course.bugs import page
from course.bugs.bug import Bug, shelf
from course.bugs.running import NOT_HERE, Finding, look_for, play_all


def main() -> int:
    """Look for the bugs that are named, or for all; 1 where one is not found."""
    words = _words()
    bugs = [shelf()[name] for name in words.names] if words.names else list(shelf().values())
    held = _all_hold(bugs)
    findings = []
    for bug in bugs:
        findings.append(look_for(bug))
        _tell(bug, findings[-1])
    missed = [
        finding.bug for finding in findings if not (finding.is_found or NOT_HERE in finding.words)
    ]
    print(f"\n{len(findings)} bugs: {len(findings) - len(missed)} found")
    if missed:
        print(f"NOT FOUND: {', '.join(missed)}")
    if words.write:
        page.renew(words.write, bugs, findings)
    return int(bool(missed) or not held)


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m course.bugs", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a bug; all if not said")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="renew these rows of a page")
    words = parser.parse_args()
    unknown = set(words.names) - shelf().keys()
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(shelf())}")
    return words


def _all_hold(bugs: list[Bug]) -> bool:
    """Play all of it without a bug first: what finds one must hold where there is none."""
    broken = 0
    for number, (by, why) in enumerate(play_all(bugs), 1):
        broken += bool(why) and NOT_HERE not in why
        verdict = why if NOT_HERE in why else f"BROKEN: {why}" if why else "held"
        print(f"without a bug {number:3}  {by}  {verdict}", flush=True)
    return not broken


def _tell(bug: Bug, finding: Finding) -> None:
    verdict = (
        "found" if finding.is_found else NOT_HERE if NOT_HERE in finding.words else "NOT FOUND"
    )
    words = page.shortened(finding.words, bug) or "all held"
    print(f"{verdict}  {bug.name}  {finding.seconds:.1f} s  {finding.by}: {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
