"""The student's body: growth, the frozen teacher, taps, and how targets are completed."""
from .growth import class_dimensions, grow
from .hand_over import hand_over_meta, load_hand_over, save_hand_over
from .inplace_abn import LeakyResNet, SharedNormASPPHead
from .method import Method
from .new_rows import NEW_ROWS
from .segmentors import ContinualCascadeEncoderDecoder, ContinualEncoderDecoder, ContinualMixin
from .taps import watch_inference, watch_training
from .targets import EntropyPseudoLabels, IgnoreBackground
from .teacher import FrozenTeacher, predict

__all__ = [
    'ContinualCascadeEncoderDecoder', 'ContinualEncoderDecoder', 'ContinualMixin', 'EntropyPseudoLabels',
    'FrozenTeacher', 'IgnoreBackground', 'LeakyResNet', 'Method', 'NEW_ROWS', 'SharedNormASPPHead',
    'class_dimensions', 'grow', 'hand_over_meta', 'load_hand_over', 'predict', 'save_hand_over', 'watch_inference',
    'watch_training'
]
