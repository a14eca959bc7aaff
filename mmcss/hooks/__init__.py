"""The runner's hooks: the only room that knows its moments."""
from .best_weights_hook import BestWeightsHook
from .continual_hook import ContinualHook
from .finite_hook import FiniteHook
from .hand_over_hook import HandOverHook
from .memory_hook import MemoryHook
from .progress_hook import ProgressHook
from .random_state_hook import RandomStateHook
from .result_hook import ResultHook
from .row_rates_hook import RowRatesHook

__all__ = [
    'BestWeightsHook', 'ContinualHook', 'FiniteHook', 'HandOverHook', 'MemoryHook', 'ProgressHook', 'RandomStateHook',
    'ResultHook', 'RowRatesHook'
]
