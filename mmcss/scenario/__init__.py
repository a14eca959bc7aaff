"""What is learned when. Pure Python and numpy."""
from .class_incremental import ClassIncremental, parse_short_form
from .split import Split
from .views import IGNORE, PROTOCOLS, REGIMES, Protocol, TrainView

SCENARIOS = {'ClassIncremental': ClassIncremental}

__all__ = [
    'IGNORE', 'PROTOCOLS', 'REGIMES', 'SCENARIOS', 'ClassIncremental', 'Protocol', 'Split', 'TrainView', 'parse_short_form'
]
