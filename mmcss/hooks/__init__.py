"""The only room that knows the moments of a runner."""
from .best_weights_hook import BestWeightsHook
from .continual_hook import ContinualHook
from .finite_hook import FiniteHook
from .gradient_reference import GradientReference
from .hand_over_hook import HandOverHook
from .interfered_replay import InterferedReplay
from .memory_hook import MemoryHook
from .online_hook import OnlineHook
from .progress_hook import ProgressHook
from .random_state_hook import RandomStateHook
from .replays import DynamicReplay, Replay, UniformReplay
from .result_hook import ResultHook
from .row_rates_hook import RowRatesHook

__all__ = [
    'BestWeightsHook', 'ContinualHook', 'DynamicReplay', 'FiniteHook', 'GradientReference', 'HandOverHook',
    'InterferedReplay', 'MemoryHook', 'OnlineHook', 'ProgressHook', 'RandomStateHook', 'Replay', 'ResultHook',
    'RowRatesHook', 'UniformReplay'
]
