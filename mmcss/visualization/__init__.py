"""Pictures of what was learned and forgotten, and of what it was learned from."""
from .contact_sheet import SheetRow, draw_contact_sheet
from .overlays import draw_overlay
from .predictions import colourise, draw_predictions, name_table, predict_steps, trained_steps

__all__ = ['SheetRow', 'colourise', 'draw_contact_sheet', 'draw_overlay', 'draw_predictions', 'name_table', 'predict_steps',
           'trained_steps']
