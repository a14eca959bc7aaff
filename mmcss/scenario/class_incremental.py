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
    """A sequence of steps, each of which brings new classes.

    A value: it has a length, can be indexed by step, and validates itself
    when it is made. Use :meth:`from_config` to make one from what a user
    writes.

    Args:
        steps: Foreground class names of each step, in learning order.
        background: Name of the background class (index 0 of every model),
            None if the data set has none and needs none.
        regime: 'overlapped', 'disjoint' or 'sequential'; see
            :class:`mmcss.scenario.TrainView`.
        joint: Train all classes in one step (the upper bound). The steps
            still say which classes are reported as old and new.
        images_per_step: Text files, one for each step, that list its training
            images in place of what the regime selects (MiB's partition of
            ADE20K follows none); None for the regime's.
        test_share: Share of the training images that is kept out of training
            and tested on in place of the test set, so that settings can be
            chosen without it. 0 for the data set's own test images.
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
            raise ValueError('scenario.steps: there is no step; give at least one.')
        for step, names in enumerate(self.steps):
            if not names:
                raise ValueError(f'scenario.steps: step {step} brings no class; each step needs at least one.')
        where: Dict[str, int] = {}
        for step, names in enumerate(self.steps):
            for name in names:
                if name in where:
                    raise ValueError(
                        f'scenario.steps: class {name!r} stands in steps {where[name]} and {step}; '
                        'a class enters once. Edit scenario.steps or scenario.class_order.')
                where[name] = step
        self._check_images_per_step()
        check_test_share(self.test_share)

    def _check_images_per_step(self) -> None:
        files = self.images_per_step
        if files is None:
            return
        if not isinstance(files, tuple) or not all(isinstance(file, str) and file for file in files):
            raise ValueError(f'scenario.images_per_step: got {files!r}, expected a list of names of text files.')
        if self.joint:
            raise ValueError('scenario.images_per_step: a joint run has one step, which sees the images of all; take '
                             'images_per_step or joint=True away.')
        if len(files) != len(self.steps):
            raise ValueError(f'scenario.images_per_step: got {len(files)} files, expected {len(self.steps)}, one for '
                             'each step.')

    def __len__(self) -> int:
        return 1 if self.joint else len(self.steps)

    def __getitem__(self, step: int) -> Split:
        if not 0 <= step < len(self):
            raise IndexError(f'step {step} is not in this scenario of {len(self)} steps (0 to {len(self) - 1}).')
        first = () if self.background is None else (self.background, )
        parts = [sum(self.steps, ())] if self.joint else list(self.steps)
        parts[0] = first + parts[0]
        return Split(
            step=step,
            old=sum(parts[:step], ()),
            new=parts[step],
            future=sum(parts[step + 1:], ()),
            base=first + self.steps[0],
            background=self.background)

    def __iter__(self) -> Iterator[Split]:
        return (self[step] for step in range(len(self)))

    def images(self, step: int) -> Dict[str, Any]:
        """What tells the images of a step besides its split, for a data set's config."""
        listed = {} if self.images_per_step is None else dict(listed=self.images_per_step[step])
        return dict(listed, test_share=self.test_share) if self.test_share else listed

    @classmethod
    def from_config(cls, classes: Sequence[str], background: Optional[str] = 'background', *, base: Optional[int] = None,
                    increment: Optional[int] = None, steps: Union[str, Sequence[Sequence[str]], None] = None,
                    class_order: Union[str, Order, None] = None, regime: Regime = TrainView.regime, joint: bool = False,
                    images_per_step: Optional[Sequence[str]] = None, test_share: float = 0.0) -> ClassIncremental:
        """Make a scenario from what stands in a config.

        Args:
            classes: Foreground classes of the data set, in its own order.
            background: Name of the background class, or None.
            base: Number of foreground classes of step 0.
            increment: Number of new classes of each later step (the last
                step takes what is left).
            steps: Instead of ``base`` and ``increment``: either the papers'
                short form ("15-1" is base 15, increment 1) or the list of
                class names of each step, of which future classes may be
                missing (they stay background for ever).
            class_order: The order in which classes are learned, as names or
                as positions in ``classes`` counted from 1 (0 is the
                background, as in the papers' lists), or the name of a
                published order such as 'voc_b'
                (:data:`mmcss.scenario.CLASS_ORDERS`). Default: the data set's.
            regime: See :class:`ClassIncremental`.
            joint: See :class:`ClassIncremental`.
            images_per_step: See :class:`ClassIncremental`.
            test_share: See :class:`ClassIncremental`.

        Raises:
            ValueError: An unknown class, order or regime, a class in two
                steps, an order that is no permutation, sizes that don't fit.
        """
        if steps is not None and not isinstance(steps, str):
            if base is not None or increment is not None or class_order is not None:
                raise ValueError('scenario: a list of steps stands alone; take away base, increment and class_order.')
            listed = tuple(tuple(names) for names in steps)
            _check_known([name for names in listed for name in names], classes, 'scenario.steps')
        else:
            if isinstance(steps, str):
                if base is not None or increment is not None:
                    raise ValueError(f"scenario: steps='{steps}' says base and increment; take these or steps away.")
                base, increment = parse_short_form(steps)
            order = _resolve_order(class_order, classes)
            listed = _cut(order, base, increment)
        files: Any = tuple(images_per_step) if isinstance(images_per_step, (list, tuple)) else images_per_step
        return cls(steps=listed, background=background, regime=regime, joint=joint, images_per_step=files,
                   test_share=test_share)


def parse_short_form(text: str) -> Tuple[int, int]:
    """The papers' short form: ``'15-1'`` is 15 classes, then one by one.

    Returns:
        Number of foreground classes of step 0 and of each later step.
    """
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
        left = len(order) - base
        raise ValueError(f'scenario.increment: got {increment}, expected at least 1 ({left} classes left).')
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
        raise ValueError(f'scenario.class_order: each class stands once; twice: {twice}, missing: {missing}.')
    return tuple(names)


def _check_known(names: Sequence[str], classes: Sequence[str], where: str) -> None:
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise ValueError(f'{where}: {unknown} are no foreground classes of the data set, which has {list(classes)}.')
