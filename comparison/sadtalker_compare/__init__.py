"""Compares talking-head systems by weighted criteria: measures their videos, weighs, ranks and reports.

The criteria follow a thesis that chose a portrait animator for "digital siblings" by multi-criteria decision making:
basic provisions, credibility, performance and visual quality. See the folder's README for how each is measured.
"""
