"""The only room that knows the moments of a runner."""
from .continual_hook import ContinualHook
from .hand_over_hook import HandOverHook
from .progress_hook import ProgressHook
from .random_state_hook import RandomStateHook
from .result_hook import ResultHook

__all__ = ['ContinualHook', 'HandOverHook', 'ProgressHook', 'RandomStateHook', 'ResultHook']
