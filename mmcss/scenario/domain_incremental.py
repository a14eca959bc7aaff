"""Scenarios in which the same classes are seen in one domain after another."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, Tuple, Union

from .partitions import PARTITIONS, check_test_share
from .split import Domains, Names, Split

Rule = Union[str, Mapping[str, Any]]


@dataclass(frozen=True)
class DomainIncremental:
    """A sequence of steps, each of which adds images of new domains, with the labels of all classes.

    All classes are known from step 0 on: models don't grow. The appearance of the classes changes, from city to city (PLOP,
    Douillard et al., CVPR 2021, section 4) or from day to night.

    Args:
        classes: All classes, background first where the data set has one.
        steps: Names of the domains of each step.
        rule: How an image's domain follows from its name, see :func:`check_rule`.
        background: As in :class:`ClassIncremental`.
        test_share: Share of each domain's images that is used for tests and never trained on; train and test data are then
            the same images. 0 where the data set has its own test set.
        seed: Of the draw of these images.
        partition: How they are drawn, of :data:`PARTITIONS`: 'once' draws once for each domain; 'published' as PLOP's
            released code does (:mod:`mmcss.official.plop`).
        joint: Train all domains in one step (the upper bound).
    """

    classes: Names
    steps: Tuple[Names, ...]
    rule: Rule = 'folder'
    background: Optional[str] = None
    test_share: float = 0.0
    seed: int = 0
    partition: str = 'once'
    joint: bool = False
    # Labels of all classes are given at every step.
    regime: str = field(default='sequential', init=False)

    def __post_init__(self) -> None:
        check_rule(self.rule)
        if not self.steps or not all(self.steps):
            raise ValueError(f'scenario.domains: got {[list(step) for step in self.steps]}, expected at least one name of a '
                             'domain for each step.')
        names = [name for step in self.steps for name in step]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f'scenario.domains: {twice} are in two steps; a domain enters once.')
        check_test_share(self.test_share)
        if not 0 <= self.seed < 2**32:
            raise ValueError(f'scenario.seed: got {self.seed}, expected 0 to 2**32 - 1.')
        if self.partition not in PARTITIONS:
            raise ValueError(f'scenario.partition: got {self.partition!r}, valid are {", ".join(PARTITIONS)}.')
        try:
            PARTITIONS[self.partition](self.test_share, self.seed)
        except ValueError as error:
            raise ValueError(f'scenario.partition: {error}') from error

    def __len__(self) -> int:
        return 1 if self.joint else len(self.steps)

    def __getitem__(self, step: int) -> Split:
        if not 0 <= step < len(self):
            raise IndexError(f'step {step} is not in this scenario of {len(self)} steps (0 to {len(self) - 1}).')
        parts = [sum(self.steps, ())] if self.joint else list(self.steps)
        domains = Domains(sum(parts[:step], ()), parts[step], sum(parts[step + 1:], ()), self.steps[0])
        old, new = ((), self.classes) if step == 0 else (self.classes, ())
        return Split(step, old, new, (), self.classes, self.background, domains)

    def __iter__(self) -> Iterator[Split]:
        return (self[step] for step in range(len(self)))

    def images(self, step: int) -> Dict[str, Any]:
        """Settings of a data set that select a step's images, besides its split."""
        rule = dict(self.rule) if isinstance(self.rule, Mapping) else self.rule
        return dict(domains=dict(rule=rule, test_share=self.test_share, seed=self.seed, partition=self.partition))

    @classmethod
    def from_config(cls, classes: Sequence[str], background: Optional[str] = None, *,
                    domains: Sequence[Union[str, Sequence[str]]] = (), rule: Rule = 'folder', test_share: float = 0.0,
                    seed: int = 0, partition: str = 'once', joint: bool = False) -> DomainIncremental:
        """Make a scenario from settings of a config; those not listed here are as in :class:`DomainIncremental`.

        Args:
            classes: Foreground classes of the data set, in its order.
            domains: Names of the domains of each step; a step of one domain may be its name alone.
        """
        steps = tuple((step, ) if isinstance(step, str) else tuple(step) for step in domains)
        first = () if background is None else (background, )
        return cls((*first, *classes), steps, rule, background, test_share, seed, partition, joint)


def check_rule(rule: Rule) -> None:
    """Make sure that a rule is one of these:

    - 'folder': the name of the image's folder (Cityscapes' cities);
    - 'dataset': each data set of a ConcatDataset is a domain, in the order of ``scenario.domains``;
    - ``dict(prefix=6)``: that many first characters of the file's name;
    - ``dict(regex=...)``: the expression's first group in the image's path below the data set's image folder;
    - ``dict(lists={domain: file})``: text files with an image a line, by its path below the image folder or its name, with
      or without suffix.

    Raises:
        ValueError: It is none of them.
    """
    if rule in ('folder', 'dataset'):
        return
    kind, value = next(iter(rule.items())) if isinstance(rule, Mapping) and len(rule) == 1 else (None, None)
    if kind == 'prefix' and isinstance(value, int) and value > 0:
        return
    if kind == 'lists' and isinstance(value, Mapping) and value:
        return
    if kind == 'regex' and isinstance(value, str):
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f'scenario.rule: {value!r} is no regular expression: {error}.') from error
        if groups:
            return
        raise ValueError(f'scenario.rule: {value!r} has no group; put the domain in parentheses.')
    raise ValueError(f"scenario.rule: got {rule!r}, valid are 'folder', 'dataset', dict(prefix=NUMBER), "
                     "dict(regex='...(...)...'), dict(lists={domain: file}).")
