"""The scenario that a config asks for, and where the data set lists its classes."""
from __future__ import annotations

from typing import Tuple

from ..arguments import check_arguments, check_value
from ..datasets import BACKGROUND
from ..scenario import SCENARIOS, Scenario
from .class_settings import StepClasses
from .settings import Settings
from .stated_classes import check_test_names, stated_names, tell_of_background


def build_scenario(settings: Settings) -> Scenario:
    """The scenario of a config, with the class names of its data set.

    Raises:
        ValueError: Its settings are wrong, or the class names are.
    """
    options = dict(settings.cfg.scenario)
    kind = options.pop('type', 'ClassIncremental')
    check_value('scenario.type', kind, str)
    if kind not in SCENARIOS:
        raise ValueError(f'scenario.type: got {kind!r}, valid are {", ".join(SCENARIOS)}.')
    make = SCENARIOS[kind].from_config
    check_arguments(make, options, 'scenario', skip=('classes', 'background'))
    names = stated_names(settings.cfg.train_dataloader.dataset)
    tell_of_background(names)
    check_test_names(settings.cfg, names)
    # Steps of domains know all classes: there is a background only where the data set has one.
    background = BACKGROUND if kind != 'DomainIncremental' or BACKGROUND in names.raw_ids else None
    return make(names.foreground, background, **options)


def listed_classes(settings: Settings, scenario: Scenario) -> Tuple[str, ...]:
    """All classes that the data set lists, in its order, which is that of lists with an entry for each class.

    A background that it does not list stands first; a scenario without one
    has none.
    """
    listed = stated_names(settings.cfg.train_dataloader.dataset).listed
    background = scenario[0].background
    return listed if background is None or background in listed else (background, *listed)


def step_classes(settings: Settings, scenario: Scenario, step: int) -> StepClasses:
    """The classes of a step, and where the data set lists them."""
    listed = listed_classes(settings, scenario)
    order = [listed.index(name) for split in scenario for name in split.new]
    return StepClasses(order, scenario[step].num_seen, len(listed), settings.method(step).unknown is not None)
