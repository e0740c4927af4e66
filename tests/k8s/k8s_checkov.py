"""Runs checkov over the rendered manifests and the Dockerfiles: `python tests/k8s/k8s_checkov.py`.

Its dependencies contradict the project's, so checkov gets an environment of its own in build/, made once (about half
a minute). The exit code is checkov's: 1 when a check fails that k8s/checkov.yaml does not explain away.
"""

import os
import subprocess
import sys
import venv

from k8s_manifests import K8S, RENDERED, ROOT

CHECKOV = "checkov==3.3.30"


def main() -> int:
    """Make the environment if needed, run checkov on what is there, print what it finds."""
    folder = ROOT / "build" / CHECKOV.replace("==", "-")
    command = folder / "bin" / "checkov"
    if not command.exists():
        sys.stderr.write(f"installing {CHECKOV} into {folder}\n")
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", CHECKOV], check=True)
    arguments = ["--config-file", K8S / "checkov.yaml", "-d", RENDERED, "-d", K8S / "image"]
    # without access to its vendor's site checkov logs a traceback and goes on
    return subprocess.run([command, *arguments], env={**os.environ, "LOG_LEVEL": "CRITICAL"}).returncode


if __name__ == "__main__":
    sys.exit(main())
