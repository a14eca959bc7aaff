"""The names of a data set's classes, and what its label values mean."""
from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Collection, Dict, List, Sequence, Tuple

from ..scenario import IGNORE

BACKGROUND = 'background'
# Ignoring case, spaces and punctuation, as in labelme's '_background_'.
SPELLINGS = ('background', 'bg', 'bkg')
# Names of a first class that may be none; whether it is, only its labels show.
NOTHING = ('unlabeled', 'unlabelled', 'unlabel', 'void', 'none', 'nothing', 'null', 'ignore', 'ignored', 'undefined',
           'unknown', 'other', 'others')
# labelme lists it first, counts it -1 and writes it as 255.
LABELME_IGNORE = '__ignore__'


@dataclass(frozen=True)
class ClassNames:
    """The classes of a data set.

    Args:
        foreground: Names in the order of the data set.
        raw_ids: Label value in the files of each name, background included
            where the files have it.
        ignored: Label values of pixels that are of no class.
        listed: All names that the data set lists, in its order; the
            background always as :data:`BACKGROUND`.
        spelling: How the data set writes the background.
    """

    foreground: Tuple[str, ...]
    raw_ids: Dict[str, int]
    ignored: Tuple[int, ...] = (IGNORE, )
    listed: Tuple[str, ...] = ()
    spelling: str = field(default=BACKGROUND, compare=False)


def name_classes(classes: Sequence[str], zero_is_unlabelled: bool) -> ClassNames:
    """Name the label values of a data set.

    Four kinds exist: the background is listed first (VOC), it is the
    unlisted value 0 that stock pipelines discard (ADE20K,
    ``reduce_zero_label``), it is listed besides that value (LoveDA, where 0
    is no data), or the data set has none (Cityscapes).

    Args:
        classes: ``metainfo['classes']``; the background in any spelling.
        zero_is_unlabelled: Whether value 0 means none of them.

    Raises:
        ValueError: A name is repeated or empty, or there are more classes
            than label maps can hold.
    """
    names = clean_names(classes, as_written=classes)
    spelled = [name for name in names if is_background(name)]
    if len(spelled) > 1:
        raise ValueError(f'metainfo.classes: {spelled} all name the background; list it once.')
    listed = tuple(BACKGROUND if is_background(name) else name for name in names)
    raw_ids = {name: i + zero_is_unlabelled for i, name in enumerate(listed)}
    if len(listed) + zero_is_unlabelled > IGNORE:
        raise ValueError(f'metainfo.classes: got {len(listed)} names, expected at most {IGNORE - zero_is_unlabelled}: '
                         f'label maps have 8 bits, and {IGNORE} is ignored.')
    foreground = tuple(name for name in listed if name != BACKGROUND)
    ignored: Tuple[int, ...] = (IGNORE, )
    if zero_is_unlabelled and spelled:
        ignored = (0, IGNORE)
    elif zero_is_unlabelled:
        raw_ids = {BACKGROUND: 0, **raw_ids}
    return ClassNames(foreground, raw_ids, ignored, listed, *spelled)


def is_background(name: str) -> bool:
    """Whether a class is the background by one of its :data:`SPELLINGS`, such as 'Background' or '_background_'."""
    return _letters(name) in SPELLINGS


def is_nothing(name: str) -> bool:
    """Whether a name means no class, such as 'void'."""
    return _letters(name) in NOTHING


def _letters(name: str) -> str:
    return re.sub(r'[\W_]+', '', name).casefold()


def clean_names(classes: Sequence[Any], as_written: Collection[str] = ()) -> List[str]:
    """Names without what editors leave around them: spaces, byte order marks, empty lines at the end.

    Args:
        classes: The names, as a user lists them.
        as_written: Names that are not changed (stock data sets have some with
            spaces).

    Raises:
        ValueError: One is no text, empty, or repeated.
    """
    wrong = [name for name in classes if not isinstance(name, str)]
    if wrong:
        raise ValueError(f'metainfo.classes: got {wrong[0]!r} among the names, expected strings.')
    names = [name if name in as_written else name.strip().strip('\ufeff').strip() for name in classes]
    while names and not names[-1].strip():
        names.pop()
    if not all(names):
        raise ValueError(f'metainfo.classes: name {names.index("")} of {len(names)}, counted from 0, is empty, but the '
                         'label values follow the order of the names; name the class, or remove the line.')
    if LABELME_IGNORE in names:
        raise ValueError(f"metainfo.classes: {LABELME_IGNORE!r} is labelme's name for no class (255 in its label maps), "
                         'and would shift the others by one; remove it.')
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f'metainfo.classes: {twice} are listed more than once; list each class once.')
    return names
