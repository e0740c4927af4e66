"""`make release VERSION=x.y.z`: sets the version and everything in the repository that quotes it.

The version itself is in server/sadtalker_runtime/version.py. Its section in CHANGELOG.md must be written before, headed
"## [x.y.z] - unreleased"; it gets the day's date. Nothing is committed, tagged or pushed.
"""

import argparse
import datetime
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

VERSION = re.compile(r"\d+\.\d+\.\d+")
# Where the version is quoted, and what stands before it there. Files made by `make generate` follow from the first.
QUOTES = {
    "server/sadtalker_runtime/version.py": r'^VERSION = "',
    "k8s/overlays/*/kustomization.yaml": r"(?:newTag|app\.kubernetes\.io/version): ",
    "k8s/components/web/kustomization.yaml": r"newTag: ",
    "k8s/README.md": r"(?:REGISTRY/sadtalker(?:-export|-gateway)?:|newTag: |app\.kubernetes\.io/version: |makes `)",
    "CITATION.cff": r"^version: \"?",
    "server/README.md": r"sadtalker_triton-",
}
CHANGELOG = "CHANGELOG.md"


class ReleaseError(Exception):
    """The version cannot be set; the message says why."""


def set_version(root: Path, version: str, date: str) -> list[Path]:
    """Write the version into every file that quotes it, and the date into the change log; return the files.

    Raises:
        ReleaseError: the version is none, or the change log has no unreleased section for it.
    """
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"VERSION: expected x.y.z, got {version!r}")
    log = root / CHANGELOG
    heading = f"## [{version}] - "
    text = log.read_text()
    if f"{heading}unreleased\n" not in text:
        raise ReleaseError(f"{log}: expected a section '{heading}unreleased', found none")
    log.write_text(text.replace(f"{heading}unreleased\n", f"{heading}{date}\n"))
    changed = [log]
    for pattern, before in QUOTES.items():
        for path in sorted(root.glob(pattern)):
            old = path.read_text()
            new = re.sub(f"({before}){VERSION.pattern}", rf"\g<1>{version}", old, flags=re.MULTILINE)
            if new != old:
                path.write_text(new)
                changed.append(path)
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Set the version, generate what follows from it, render the manifests again; return the exit code."""
    parser = argparse.ArgumentParser(prog="tools/release.py", description=__doc__)
    parser.add_argument("version", metavar="x.y.z")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="the checkout")
    parser.add_argument("--no-render", action="store_true", help="leave tests/k8s/rendered, which takes kubectl")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    try:
        today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        for path in set_version(root, options.version, today):
            print(f"set in {path.relative_to(root)}")
    except (ReleaseError, OSError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    steps = [[sys.executable, "-m", "sadtalker_runtime.generate", "--root", str(root)]]
    if not options.no_render:
        steps.append([sys.executable, str(root / "tests" / "k8s" / "k8s_manifests.py")])
    environment = {**os.environ, "PYTHONPATH": str(root / "server")}  # of this checkout, with the new version
    for step in steps:
        if code := subprocess.run(step, env=environment, check=False).returncode:
            return code
    print(f"next: make test; git commit; git tag v{options.version}; build and push the images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
