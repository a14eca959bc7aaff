"""How predictions are judged, at a step and over steps."""
from .confusion import accuracy_per_class, confusion_matrix, iou_per_class, mean_over, pixel_accuracy
from .continual_iou import ContinualIoUMetric
from .results import MEANS, means_text, step_means, summarise
from .step_scores import evaluate
from .tables import class_table, compare_table, comparison_notes, matrix_table, steps_table

__all__ = [
    'ContinualIoUMetric', 'MEANS', 'accuracy_per_class', 'class_table', 'compare_table', 'comparison_notes',
    'confusion_matrix', 'evaluate', 'iou_per_class', 'matrix_table', 'mean_over', 'means_text', 'pixel_accuracy',
    'step_means', 'steps_table', 'summarise'
]
