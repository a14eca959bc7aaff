"""Makes the model's config of one step."""
from __future__ import annotations

import copy
import inspect
from typing import Any, Dict, List, Mapping, Optional, Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS

from ..files import plain
from ..losses.decode_loss import Average
from ..models.extended_segmentors import DEFAULT_SCORES
from ..models.heads import BOUNDARY_HEADS, MASK_HEADS
from ..models.part_configs import CLASSIFIERS
from .class_settings import StepClasses, follow_classes, is_a
from .config_nodes import class_of, walk

STOCK = ('EncoderDecoder', 'CascadeEncoderDecoder')
EXTENDED = {name: f'Extended{name}' for name in STOCK}
STUDENTS = {**{name: f'Continual{name}' for name in STOCK}, **{kind: f'Continual{name}' for name, kind in EXTENDED.items()}}
STOCK_LOSSES = ('CrossEntropyLoss', 'OhemCrossEntropy')

Config = Dict[str, Any]


def stock_model(model: Mapping[str, Any], classes: StepClasses, average: Average) -> Config:
    """A stock model config with the classes of one step.

    Args:
        model: The user's; its number of classes does not matter.
        classes: Those of the step.
        average: Default of what cross-entropy averages over: the 'valid' pixels, or 'all', ignored ones included.

    Returns:
        A copy in which heads with as many classes as the decode head have the number of seen ones (boundary heads keep
        their two), and settings of losses for single classes are adapted (:func:`follow_classes`).

    Raises:
        ValueError: The model's type, a head or such a setting is not supported.
    """
    if model['type'] not in STUDENTS:
        raise ValueError(f"model.type: got {model['type']!r}, valid are {', '.join(STUDENTS)}.")
    model = copy.deepcopy(plain(model))
    channels = classes.seen + classes.unknown
    heads = [model['decode_head'], *([model['auxiliary_head']] if model.get('auxiliary_head') else [])]
    _refuse_single_channel(heads)
    stated = [node['num_classes'] for node in walk(model['decode_head']) if 'num_classes' in node]
    for head in _each(heads):
        if not stated and head['type'] not in BOUNDARY_HEADS:
            head['num_classes'] = channels
    for node in walk(heads):
        if 'num_classes' in node and 'loss_decode' not in node and _has_stock_loss(node.get('type')):
            node['loss_decode'] = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
    for node in walk(heads):
        if stated and node.get('num_classes') == stated[-1] and node.get('type') not in BOUNDARY_HEADS:
            node['num_classes'] = channels
            if node.get('out_channels') == stated[-1] and not is_a(node, *MASK_HEADS):
                node['out_channels'] = channels
        if node.get('type') == 'CrossEntropyLoss' and node.get('class_weight') is None:
            # Stock divides by the number of all pixels, so that the loss shrinks with the share that a method ignores.
            node.setdefault('avg_non_ignore', average == 'valid')
    for key in ('decode_head', 'auxiliary_head'):
        follow_classes(model.get(key), f'model.{key}', classes)
    return dict(model)


def extended_model(model: Config, unknown: Optional[str], classifier: Optional[Mapping[str, Any]],
                   steps: Sequence[int]) -> Config:
    """A model of mmcss's extended type, where it has an unknown class or another classifier.

    Args:
        model: Of :func:`stock_model`.
        unknown: Which scores of an unknown class are added to the background's, see :class:`ExtendedMixin`; None for no
            such class.
        classifier: Config of a classifier, or None for the stock one; one that grows by steps gets ``steps``.
        steps: Number of foreground classes of each step so far.

    Raises:
        ValueError: The model's type has no extended one.
    """
    if not (unknown or classifier):
        return model
    if model['type'] not in EXTENDED:
        raise ValueError(f"continual.unknown, continual.classifier: got model.type {model['type']!r}, which has neither; "
                         f"valid are {', '.join(EXTENDED)}.")
    model = dict(model, type=EXTENDED[model['type']], unknown=bool(unknown))
    if unknown not in (None, DEFAULT_SCORES):
        model['unknown_scores'] = unknown
    if classifier:
        cls = CLASSIFIERS.class_of(classifier)
        grows = 'steps' in inspect.signature(cls.__init__).parameters
        model['classifier'] = dict(plain(classifier), **(dict(steps=list(steps)) if grows else {}))
    return model


def teacher_model(model: Config) -> Config:
    """The teacher's model: without auxiliary heads and pretrained weights."""
    return dict(without_pretrained(model), auxiliary_head=None)


def without_pretrained(model: Config) -> Config:
    """A copy that fetches no pretrained weights."""
    model = copy.deepcopy(model)
    for node in walk(model):
        if node.get('pretrained'):
            node['pretrained'] = None
        init_cfg = node.get('init_cfg')
        if isinstance(init_cfg, list):
            node['init_cfg'] = [entry for entry in init_cfg if entry.get('type') != 'Pretrained']
        elif init_cfg and init_cfg.get('type') == 'Pretrained':
            node['init_cfg'] = None
    return model


def replace_cross_entropy(model: Config, loss: Mapping[str, Any], num_old: int) -> Config:
    """A copy in which a method's loss replaces the heads' cross-entropy, with its weight and class weights.

    Other losses (Dice, boundary) stay.

    Args:
        model: Stock model config.
        loss: Config of a :class:`DecodeLoss`.
        num_old: Number of old classes, background included.

    Raises:
        ValueError: The decode head has no cross-entropy.
    """
    model = copy.deepcopy(model)

    def replaced(old: Config) -> Config:
        weights = {'class_weight': old['class_weight']} if old.get('class_weight') else {}
        return dict(loss, num_old=num_old, loss_weight=old.get('loss_weight', 1.0), **weights)

    for node in walk([model['decode_head'], model.get('auxiliary_head')]):
        if 'loss_decode' in node and node.get('type') not in BOUNDARY_HEADS:
            before = _each([node['loss_decode']])
            stock = [old for old in before if old.get('type') in STOCK_LOSSES]
            # A sigmoid beside a softmax is for something else, such as boundaries.
            stock = [old for old in stock if not old.get('use_sigmoid')] or stock
            after = [replaced(old) if old in stock else old for old in before]
            node['loss_decode'] = after if isinstance(node['loss_decode'], list) else after[0]
    kinds = [entry.get('type') for node in walk(model['decode_head']) if 'loss_decode' in node
             for entry in _each([node['loss_decode']])]
    if loss['type'] not in kinds:
        raise ValueError(f"continual.loss_decode: {loss['type']} replaces {' or '.join(STOCK_LOSSES)} of the decode head, "
                         f'which has {kinds or "no loss_decode"}. For this head take a method that keeps the stock loss: '
                         'finetune, lwf, ilt, plop, reminder, sats, ewc, pi, rw, or a replay.')
    return model


def _refuse_single_channel(heads: Sequence[Any]) -> None:
    """Refuse MMSegmentation's form for two classes, a sigmoid of one channel."""
    if any(node.get('out_channels') == 1 for node in walk(heads) if 'loss_decode' in node or 'num_classes' in node):
        raise ValueError('model: got a head with out_channels=1, expected a channel for each class, also the background. '
                         'Remove out_channels and threshold from all heads, and take '
                         "loss_decode=dict(type='CrossEntropyLoss'), with use_sigmoid=True if you like.")


def _each(heads: Sequence[Any]) -> List[Config]:
    return [head for entry in heads for head in (entry if isinstance(entry, (list, tuple)) else [entry])]


def _has_stock_loss(head: Any) -> bool:
    """Whether a head that names no loss gets BaseDecodeHead's cross-entropy."""
    cls = class_of(MODELS, head)
    if cls is None or not issubclass(cls, BaseDecodeHead):
        return False
    owner = next(base for base in cls.__mro__ if '__init__' in vars(base))
    return owner is BaseDecodeHead or 'loss_decode' not in inspect.signature(owner.__init__).parameters
