"""The only room that knows the moments of a runner."""
from .continual_hook import ContinualHook
from .hand_over_hook import HandOverHook
from .random_state_hook import RandomStateHook
from .result_hook import ResultHook

__all__ = ['ContinualHook', 'HandOverHook', 'RandomStateHook', 'ResultHook']
