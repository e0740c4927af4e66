"""The version of the project; `make release VERSION=x.y.z` sets it here and wherever it is quoted."""

VERSION = "0.1.0"


def check_version(repository: str) -> None:
    """Raise RuntimeError unless the model repository is of this version: its contract may have changed since."""
    if repository != VERSION:
        raise RuntimeError(
            f"the model repository's version is {repository}, expected {VERSION}, that of sadtalker_runtime: "
            "use the model repository and the package of one release"
        )
