"""How a scenario's images and labels reach the model."""
from .labelled_images import LabelledImages
from .map_labels import MapLabels
from .presence import presence_table
from .seed_worker import seed_worker
from .sources import BACKGROUND, ClassNames, leaves_of, name_classes
from .step_dataset import StepDataset, build_view
from .transforms import RandomResizedCrop, ScoreAsResized

__all__ = [
    'BACKGROUND', 'ClassNames', 'LabelledImages', 'MapLabels', 'RandomResizedCrop', 'ScoreAsResized', 'StepDataset',
    'build_view', 'leaves_of', 'name_classes', 'presence_table', 'seed_worker'
]
