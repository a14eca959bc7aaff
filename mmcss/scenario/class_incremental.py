"""Scenarios in which new classes enter step by step."""
from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from .orders import class_order as published_order
from .partitions import check_test_share
from .split import Names, Split
from .views import REGIMES, Regime, TrainView

Order = Sequence[Union[str, int]]


@dataclass(frozen=True)
class ClassIncremental:
    """A sequence of steps, each of which adds new classes.

    An immutable value with a length, indexed by step; it validates itself when it is made. :meth:`from_config` makes one
    from a config.

    Args:
        steps: Foreground class names of each step, in learning order.
        background: Name of the background class (index 0 of every model), None if the data set has none and needs none.
        regime: 'overlapped', 'disjoint' or 'sequential'; see :class:`mmcss.scenario.TrainView`.
        joint: Train all classes in one step (the upper bound). The steps still determine which classes are reported as old
            and new.
        images_per_step: A text file for each step that lists its training images, in place of those that the regime
            selects (MiB's partition of ADE20K follows none); None for the regime's.
        test_share: Share of the training images that is kept out of training and tested on in place of the test set, so that
            settings can be chosen without it. 0 for the data set's own test images.
    """

    steps: Tuple[Names, ...]
    background: Optional[str] = 'background'
    regime: Regime = TrainView.regime
    joint: bool = False
    images_per_step: Optional[Tuple[str, ...]] = None
    test_share: float = 0.0

    def __post_init__(self) -> None:
        if self.regime not in REGIMES:
            raise ValueError(f'scenario.regime: got {self.regime!r}, valid are {", ".join(REGIMES)}.')
        if not self.steps:
            raise ValueError('scenario.steps: got no step, expected at least one.')
        step_of: Dict[str, int] = {}
        for step, names in enumerate(self.steps):
            if not names:
                raise ValueError(f'scenario.steps: step {step} has no class; each step needs at least one.')
            for name in names:
                if name in step_of:
                    raise ValueError(f'scenario.steps: class {name!r} is in steps {step_of[name]} and {step}; a class '
                                     'enters once. Edit scenario.steps or scenario.class_order.')
                step_of[name] = step
        self._check_images_per_step()
        check_test_share(self.test_share)

    def _check_images_per_step(self) -> None:
        files = self.images_per_step
        if files is None:
            return
        if not isinstance(files, tuple) or not all(isinstance(file, str) and file for file in files):
            raise ValueError(f'scenario.images_per_step: got {files!r}, expected a list of names of text files.')
        if self.joint:
            raise ValueError('scenario.images_per_step: a joint run has one step with the images of all; remove '
                             'images_per_step or joint=True.')
        if len(files) != len(self.steps):
            raise ValueError(f'scenario.images_per_step: got {len(files)} files, expected {len(self.steps)}, one a step.')

    def __len__(self) -> int:
        return 1 if self.joint else len(self.steps)

    def __getitem__(self, step: int) -> Split:
        if not 0 <= step < len(self):
            raise IndexError(f'step {step} is not in this scenario of {len(self)} steps (0 to {len(self) - 1}).')
        first = () if self.background is None else (self.background, )
        parts = [sum(self.steps, ())] if self.joint else list(self.steps)
        parts[0] = first + parts[0]
        return Split(step, old=sum(parts[:step], ()), new=parts[step], future=sum(parts[step + 1:], ()),
                     base=first + self.steps[0], background=self.background)

    def __iter__(self) -> Iterator[Split]:
        return (self[step] for step in range(len(self)))

    def images(self, step: int) -> Dict[str, Any]:
        """Settings of a data set that select a step's images, besides its split."""
        listed = {} if self.images_per_step is None else dict(listed=self.images_per_step[step])
        return dict(listed, test_share=self.test_share) if self.test_share else listed

    @classmethod
    def from_config(cls, classes: Sequence[str], background: Optional[str] = 'background', *, base: Optional[int] = None,
                    increment: Optional[int] = None, steps: Union[str, Sequence[Sequence[str]], None] = None,
                    class_order: Union[str, Order, None] = None, regime: Regime = TrainView.regime, joint: bool = False,
                    images_per_step: Optional[Sequence[str]] = None, test_share: float = 0.0) -> ClassIncremental:
        """Make a scenario from settings of a config; those not listed here are as in :class:`ClassIncremental`.

        Args:
            classes: Foreground classes of the data set, in its order.
            base: Number of foreground classes of step 0.
            increment: Number of new classes of each later step (the last step takes those left).
            steps: Instead of ``base`` and ``increment``: either the papers' short form ("15-1" is base 15, increment 1) or
                the list of class names of each step. Classes in no step stay background.
            class_order: The order in which classes are learned, as names or as positions in ``classes`` counted from 1 (0
                is the background, as in the papers' lists), or the name of a published order such as 'voc_b'
                (:data:`mmcss.scenario.CLASS_ORDERS`). Default: the data set's.

        Raises:
            ValueError: An unknown class, order or regime, a class in two steps, an order that is no permutation, sizes that
                don't fit.
        """
        if steps is not None and not isinstance(steps, str):
            if base is not None or increment is not None or class_order is not None:
                raise ValueError('scenario: got a list of steps and base, increment or class_order; remove the latter.')
            listed = tuple(tuple(names) for names in steps)
            _check_known([name for names in listed for name in names], classes, 'scenario.steps')
        else:
            if isinstance(steps, str):
                if base is not None or increment is not None:
                    raise ValueError(f"scenario: steps='{steps}' sets base and increment; remove these or steps.")
                base, increment = parse_short_form(steps)
            listed = _cut(_resolve_order(class_order, classes), base, increment)
        files: Any = tuple(images_per_step) if isinstance(images_per_step, (list, tuple)) else images_per_step
        return cls(steps=listed, background=background, regime=regime, joint=joint, images_per_step=files,
                   test_share=test_share)


def parse_short_form(text: str) -> Tuple[int, int]:
    """Number of foreground classes of step 0 and of each later step: 15 and 1 of the papers' short form '15-1'."""
    match = re.fullmatch(r'(\d+)-(\d+)', text.strip())
    if not match:
        raise ValueError(f"scenario.steps: got {text!r}, expected 'BASE-INCREMENT' such as '15-1', or lists of names.")
    return int(match.group(1)), int(match.group(2))


def _cut(order: Names, base: Optional[int], increment: Optional[int]) -> Tuple[Names, ...]:
    if base is None:
        raise ValueError("scenario: give base and increment, or steps (a list of lists of names, or '15-1').")
    if not 1 <= base <= len(order):
        raise ValueError(f'scenario.base: got {base}, but the data set has {len(order)} foreground classes.')
    if base == len(order):
        return (order, )
    if increment is None or increment < 1:
        raise ValueError(f'scenario.increment: got {increment}, expected at least 1 ({len(order) - base} classes left).')
    cuts = range(base, len(order), increment)
    return (order[:base], ) + tuple(order[cut:cut + increment] for cut in cuts)


def _resolve_order(class_order: Union[str, Order, None], classes: Sequence[str]) -> Names:
    if class_order is None:
        return tuple(classes)
    if isinstance(class_order, str):
        class_order = published_order(class_order)
    names: List[str] = []
    for entry in class_order:
        if isinstance(entry, int):
            if not 1 <= entry <= len(classes):
                raise ValueError(f'scenario.class_order: got position {entry}, expected 1 to {len(classes)}.')
            entry = classes[entry - 1]
        names.append(entry)
    _check_known(names, classes, 'scenario.class_order')
    twice = [name for name, count in Counter(names).items() if count > 1]
    missing = [name for name in classes if name not in names]
    if twice or missing:
        raise ValueError(f'scenario.class_order: expected each class once; twice: {twice}, missing: {missing}.')
    return tuple(names)


def _check_known(names: Sequence[str], classes: Sequence[str], where: str) -> None:
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise ValueError(f'{where}: {unknown} are no foreground classes of the data set, which has {list(classes)}.')
