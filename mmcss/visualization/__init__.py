"""Pictures of what was learned and forgotten."""
from .predictions import colourise, draw_predictions, predict_steps, trained_steps

__all__ = ['colourise', 'draw_predictions', 'predict_steps', 'trained_steps']
