"""The version of this release: the one place that says it. `make release VERSION=x.y.z` sets it and all that quote it."""

VERSION = "0.1.0"
