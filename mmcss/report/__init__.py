"""Pages about runs: one HTML file with charts, Markdown, and CSV."""
from .collect import Run, Step, read_runs
from .page import write_report

__all__ = ['Run', 'Step', 'read_runs', 'write_report']
