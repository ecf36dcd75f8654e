"""Ask the package registries whether anything in use is known to be harmful: `make audit`.

    .venv-audit/bin/python .ci/audit.py .venv widgets/js

pip-audit asks for the Python packages of an environment, npm for those of a lock file. Where a
registry cannot be reached, or answers no such question, that is said, and counts as a failure: what
was not asked is not known to be well.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

NOT_ASKED = "could not be asked: the registry is not reached, or answers no audits"


def python_packages(environment: Path) -> list[str]:
    """A line for each finding."""
    (packages,) = environment.glob("lib/python*/site-packages")
    tool = Path(sys.executable).with_name("pip-audit")
    report = asked(
        [str(tool), "--path", str(packages), "--format", "json", "--progress-spinner=off"]
    )
    if report is None or "dependencies" not in report:
        return [f"Python packages: {NOT_ASKED}."]
    count = len(report["dependencies"])
    print(f"Python packages: {count} looked up.")
    return [
        f"{package['name']} {package['version']}: {found['id']}, mended in "
        f"{', '.join(found['fix_versions']) or 'no version yet'}"
        for package in report["dependencies"]
        for found in package.get("vulns", ())
    ]


def npm_packages(folder: Path) -> list[str]:
    """The same for a folder with a package-lock.json."""
    if shutil.which("npm") is None:
        return ["npm packages: could not be asked: npm is not installed."]
    report = asked(["npm", "audit", "--json"], folder)
    if report is None or "vulnerabilities" not in report:
        return [f"npm packages: {NOT_ASKED}."]
    print(f"npm packages: {report['metadata']['dependencies']['total']} looked up.")
    return [
        f"{name} {found['range']}: {found['severity']}"
        for name, found in report["vulnerabilities"].items()
    ]


def asked(command: list[str], folder: Path | None = None) -> Any:
    """What a tool prints as JSON; None where it prints none."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        print("\n".join(done.stderr.strip().splitlines()[-2:]), file=sys.stderr)
        return None


def main(environment: str, folder: str) -> None:
    findings = [*python_packages(Path(environment)), *npm_packages(Path(folder))]
    if findings:
        sys.exit("\n".join(findings))
    print("Nothing is known against any of them.")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
