"""Step configs and the sequence of runners."""
from .augmented_test import AugmentedTest
from .composition import compose
from .continual_runner import ContinualRunner
from .distributed import DeviceAwareDDP
from .plan import make_plan, plan_table
from .settings import build_scenario
from .step_config import deploy_config, step_config

__all__ = ['AugmentedTest', 'ContinualRunner', 'DeviceAwareDDP', 'build_scenario', 'compose', 'deploy_config',
           'make_plan', 'plan_table', 'step_config']
