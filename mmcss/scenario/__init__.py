"""What is learned at which step. Pure Python and numpy."""
from typing import Mapping, Type, Union

from .class_incremental import ClassIncremental, parse_short_form
from .domain_incremental import DomainIncremental
from .orders import CLASS_ORDERS, PLOP_PAPER_ORDERS
from .split import Domains, Split
from .views import IGNORE, PROTOCOLS, REGIMES, Protocol, TrainView

Scenario = Union[ClassIncremental, DomainIncremental]
SCENARIOS: Mapping[str, Type[Scenario]] = {'ClassIncremental': ClassIncremental, 'DomainIncremental': DomainIncremental}

__all__ = [
    'CLASS_ORDERS', 'IGNORE', 'PLOP_PAPER_ORDERS', 'PROTOCOLS', 'REGIMES', 'SCENARIOS', 'ClassIncremental',
    'DomainIncremental', 'Domains', 'Protocol', 'Scenario', 'Split', 'TrainView', 'parse_short_form'
]
