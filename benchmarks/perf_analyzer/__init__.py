"""Load tests with Triton's perf_analyzer: the tool itself, the committed scenarios, what they measure, the plots."""
