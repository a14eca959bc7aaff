"""How a scenario's images and labels reach the model."""
from .class_names import BACKGROUND, ClassNames, clean_names, is_nothing, name_classes
from .labelled_images import LabelledImages
from .map_labels import MapLabels
from .presence import presence_table
from .saliency import MarkUnknown, check_saliency
from .seed_worker import seed_worker
from .sources import leaves_of
from .step_dataset import StepDataset, build_view
from .transforms import RandomResizedCrop, ScoreAsResized

__all__ = [
    'BACKGROUND', 'ClassNames', 'LabelledImages', 'MapLabels', 'MarkUnknown', 'RandomResizedCrop', 'ScoreAsResized',
    'StepDataset', 'build_view', 'check_saliency', 'clean_names', 'is_nothing', 'leaves_of', 'name_classes', 'presence_table',
    'seed_worker'
]
