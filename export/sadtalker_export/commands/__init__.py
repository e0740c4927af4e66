"""The subcommands of `sadtalker-export`, one per module, each with `add_arguments(parser)` and `run(args) -> int`."""
