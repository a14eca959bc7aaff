"""Tables of experiments: many runs from one file, and the pages that show what they found."""
from .entries import Job, entry_config, make_jobs
from .left import Reporter, left_jobs, slots
from .results import keep_result, kept_result, page_text, write_pages
from .schedule import Schedule
from .table import Entry, Page, Row, Table, entries_of, read_table

__all__ = ['Entry', 'Job', 'Page', 'Reporter', 'Row', 'Schedule', 'Table', 'entries_of', 'entry_config', 'keep_result',
           'kept_result', 'left_jobs', 'make_jobs', 'page_text', 'read_table', 'slots', 'write_pages']
