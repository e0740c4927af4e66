"""The entry point of `sadtalker-gateway`: where the gateway's packages are missing, it names the extra to install."""

import sys


def main() -> int:
    """Serve as `cli.main` does; return 2, with one line on stderr, if a package is missing."""
    try:
        from .cli import main as serve
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package.startswith("sadtalker_"):
            raise
        hint = "run pip install '.[gateway]' in a checkout"
        sys.stderr.write(f"sadtalker-gateway: the package {package} is missing: {hint}\n")
        return 2
    return serve()
