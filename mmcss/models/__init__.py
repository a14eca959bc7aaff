"""Student and teacher: growth, freezing, reading features, and completing labels."""
from .cosine_classifier import CosineClassifier
from .extended_segmentors import ExtendedCascadeEncoderDecoder, ExtendedEncoderDecoder, merge_unknown
from .growth import class_axes, grow
from .hand_over import check_hand_over, forget_hand_over, hand_over_meta, load_hand_over, save_hand_over
from .inplace_abn import LeakyResNet, SharedNormASPPHead
from .method import Method
from .nearest_mean import NearestMean
from .new_rows import NEW_ROWS
from .segmentors import ContinualCascadeEncoderDecoder, ContinualEncoderDecoder, ContinualMixin
from .step_heads import StepHeads
from .taps import watch_inference, watch_training
from .targets import EntropyPseudoLabels, IgnoreBackground, SigmoidPseudoLabels
from .teacher import FrozenTeacher, predict

__all__ = [
    'ContinualCascadeEncoderDecoder', 'ContinualEncoderDecoder', 'ContinualMixin', 'CosineClassifier',
    'EntropyPseudoLabels', 'ExtendedCascadeEncoderDecoder', 'ExtendedEncoderDecoder', 'FrozenTeacher',
    'IgnoreBackground', 'LeakyResNet', 'Method', 'NEW_ROWS', 'NearestMean', 'SharedNormASPPHead', 'SigmoidPseudoLabels',
    'StepHeads', 'check_hand_over', 'class_axes', 'forget_hand_over', 'grow', 'hand_over_meta', 'load_hand_over',
    'merge_unknown', 'predict', 'save_hand_over', 'watch_inference', 'watch_training'
]
