"""The commands of this package, one per module, each with `add_arguments(parser)` and `run(args) -> int`."""
