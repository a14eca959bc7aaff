"""What the settings of parts may be, and what is said of others."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import nn

from mmcss.arguments import arguments_of
from mmcss.memory import POLICIES, REPLAYS
from mmcss.losses.plop import FOLDS, LocalPOD
from mmcss.models.part_configs import CLASSIFIERS, DECODE_LOSSES, PARTS, check_losses, classifier_config
from mmcss.models.targets.pseudo_labels import ESTIMATORS
from mmcss.parts import Part

if TYPE_CHECKING:
    from decimal import Decimal

FAMILIES = {'part': PARTS, 'loss': DECODE_LOSSES, 'replay': REPLAYS, 'policy': POLICIES}
CLASSES = {cls.__name__: cls for family in FAMILIES.values() for cls in family.members().values()
           if cls.__module__.startswith('mmcss.')}
# Of each class what it can't do without.
REQUIRED = {name: dict(num_old=2) for name in DECODE_LOSSES.members()}
ARGUMENTS = [(name, argument) for name, cls in CLASSES.items() for argument in arguments_of(cls)]
# No setting of a part is any of these.
NEVER = ['word', 'True', float('nan'), float('inf'), float('-inf'), -1, [], {}, ['word'], [-1], object()]


def kinds(name: str, argument: str) -> list[Any]:
    """The kinds that an annotation allows, those of a union one by one."""
    annotation = arguments_of(CLASSES[name])[argument].annotation
    return [annotation, *get_args(annotation)]


def told_by(call, *args, **kwargs):
    """The text of the ValueError that a call ends with."""
    with pytest.raises(ValueError) as error:
        call(*args, **kwargs)
    return str(error.value)


def make(name: str, **settings: Any) -> Any:
    """A part with its defaults but for some settings."""
    return CLASSES[name](**{**REQUIRED.get(name, {}), **settings})


def test_all_are_found():
    assert len(PARTS.members()) >= 14 and len(DECODE_LOSSES.members()) >= 3 and len(ARGUMENTS) > 60
    assert set(REPLAYS.members()) >= {'UniformReplay', 'DynamicReplay', 'GradientReference', 'InterferedReplay'}
    assert set(CLASSIFIERS.members()) >= {'CosineClassifier', 'NearestMean', 'StepHeads'}
    assert not {'FCNHead', 'SharedNormASPPHead', 'KernelUpdateHead', 'Conv2d'} & set(CLASSIFIERS.members())


@pytest.mark.parametrize('name, argument', ARGUMENTS)
def test_every_argument_is_of_a_kind(name, argument):
    """Wrong kinds are refused by name; the default is none of them."""
    found = kinds(name, argument)
    wrong = [*NEVER, *([] if type(None) in found else [None]), *([] if bool in found else [True])]
    for value in wrong:
        assert told_by(make, name, **{argument: value}).startswith((f'{name}.{argument}: got ', f'{name}.{argument}[0]: got '))
    make(name)


CHOICES = [(name, argument, kinds(name, argument)[0]) for name, argument in ARGUMENTS
           if getattr(kinds(name, argument)[0], '__origin__', None) is Literal]


@pytest.mark.parametrize('name, argument, kind', CHOICES)
def test_every_valid_word_is_taken(name, argument, kind):
    for word in get_args(kind):
        make(name, **{argument: word})


def test_words_are_those_that_stand_for_something():
    assert arguments_of(LocalPOD)['fold'].annotation == Literal[tuple(FOLDS)]
    assert arguments_of(CLASSES['EntropyPseudoLabels'])['estimator'].annotation == Literal[tuple(ESTIMATORS)]
    assert len(CHOICES) >= 15


# Of each number the least and the greatest that is taken (None: any), and values beyond them.
RANGES = {
    'loss_weight': (0, None, [-1e-9]), 'logits_weight': (0, None, [-1e-9]), 'gamma': (0, None, [-1e-9]),
    'matching': (0, None, [-1e-9]), 'attraction': (0, None, [-1e-9]), 'repulsion': (0, None, [-1e-9]),
    'sparsity': (0, None, [-1e-9]), 'start': (0, None, [-1e-9]), 'delta': (0, None, [-1e-9]), 'floor': (0, None, [-1e-9]),
    'infinite': (0, None, [-1e-9]), 'eta': (0, None, [-1e-9]), 'temperature': (1e-9, None, [0]),
    'damping': (1e-37, None, [0, 1e-46]), 'nu_without_background': (0, 1, [-1e-9, 1.001]), 'threshold': (0, 1, [-1e-9, 1.001]),
    'momentum': (0, .999, [-1e-9, 1]), 'surest': (1, None, [0, 1.5]), 'images': (1, 2**16, [0, 1.5, 2**16 + 1]), 'candidates': (4, None, [0, 4.5]),
    'interval': (1, None, [0, 1.5]), 'num_old': (1, None, [1.5]), 'class_weight': ([0], [.5, 2], [[-1e-9], [1, '1']]),
    'scales': ([1], (1, 2, 4), [[1.5], [2, 0]]), 'stages': ([1], [3, 4], [[1.5], [2, 0]]),
}
RANGES_OF = {
    ('InterferedReplay', 'images'): (1, 50, [0, 1.5, 2**16 + 1]),  # at most its candidates
    # A teacher of alpha 0 tells nothing; of Riemannian walk's average it is a share.
    **{(name, 'alpha'): (0, 1, [-1e-9, 1.001]) for name in ('ElasticWeightConsolidation', 'RiemannianWalk')},
    **{(name, 'alpha'): (1e-9, None, [0]) for name in ('KnowledgeDistillation', 'UnbiasedDistillation')},
}
NUMBERS = [(name, argument) for name, argument in ARGUMENTS if kinds(name, argument)[0] is not bool
           and argument not in ('loss_name', 'align_corners') and (name, argument) not in {choice[:2] for choice in CHOICES}]


@pytest.mark.parametrize('name, argument', NUMBERS)
def test_bounds(name, argument):
    """A setting of a new name enters RANGES; one that means something else in another class RANGES_OF."""
    least, most, beyond = RANGES_OF.get((name, argument)) or RANGES[argument]
    for value in (least, 1000 if most is None else most):
        make(name, **{argument: value})
    for value in beyond:
        assert told_by(make, name, **{argument: value}).startswith(f'{name}.{argument}')


def test_bounds_between_settings():
    assert told_by(REPLAYS.build, dict(type='InterferedReplay', images=5, candidates=4), 'continual.online') == (
        'continual.online.candidates: got 4, expected at least as many as images, 5.')
    assert REPLAYS.build(dict(type='InterferedReplay', images=4, candidates=4), 'continual.online').candidates == 4


@pytest.mark.parametrize('name', ['CosineClassifier', 'NearestMean', 'StepHeads'])
def test_classifiers_check_what_they_are_built_with(name):
    good = dict(in_channels=2, num_classes=3, **(dict(steps=[2]) if name == 'StepHeads' else {}))
    cls = CLASSIFIERS.members()[name]
    for argument in arguments_of(cls):
        for value in ('word', float('nan'), -1, ['word'], object()):
            assert told_by(cls, **{**good, argument: value}).startswith((f'{name}.{argument}: got ', f'{name}.{argument}[0]: got '))
    cls(**good)


VALID_PARTS = '(all parts)'  # stands for their names: other tests of the same process register some


@pytest.mark.parametrize('config, told', [
    (dict(type='LocalPod'), f".type: got 'LocalPod', which is not registered, did you mean 'LocalPOD'?; valid are {VALID_PARTS}, "
                            'and those of custom_imports.'),
    (dict(type='FCNHead'), f".type: got 'FCNHead', which is not a part; valid are {VALID_PARTS}, and those of custom_imports."),
    (dict(type='torch'), f".type: got 'torch', which is not a part; valid are {VALID_PARTS}, and those of custom_imports."),
    (dict(type='.x'), f".type: got '.x', which is not registered; valid are {VALID_PARTS}, and those of custom_imports."),
    (dict(type=''), f".type: got '', which is not registered; valid are {VALID_PARTS}, and those of custom_imports."),
    (dict(type=nn.Linear), f".type: got 'Linear', which is not a part; valid are {VALID_PARTS}, and those of custom_imports."),
    (dict(loss_weight=1), f": got {{'loss_weight': 1}}, expected a dict with type; valid are {VALID_PARTS}."),
    ('LocalPOD', f": got 'LocalPOD', expected a dict with type; valid are {VALID_PARTS}."),
    (dict(type='LocalPOD', temperature=3), '.temperature: there is no such setting; valid are loss_weight, logits_weight, '
     'scales, remainder, fold, squared. temperature is a setting of ClassSimilarityWeightedKD, not of LocalPOD.'),
    (dict(type='LocalPOD', scale=[1]), ".scale: there is no such setting, did you mean 'scales'?; valid are loss_weight, "
     'logits_weight, scales, remainder, fold, squared.'),
    (dict(type='LocalPOD', fold='nonsense'), ".fold: got 'nonsense', expected 'logsumexp', 'sum' or 'trim'."),
    (dict(type='LocalPOD', scales=[1, 0]), '.scales[1]: got 0, expected a number greater than or equal to 1.'),
    (dict(type='IgnoreBackground', add=1), '.add: there is no such setting; valid are none.'),
])
def test_what_is_said_of_a_part(config, told):
    expected = told.replace(VALID_PARTS, ', '.join(PARTS.members()))
    assert told_by(PARTS.check, config, 'continual.losses.pod') == f'continual.losses.pod{expected}'


@pytest.mark.parametrize('config, told', [
    (dict(type='CrossEntropyLoss'), ".type: got 'CrossEntropyLoss', which is not a DecodeLoss, did you mean "
     f"'BinaryCrossEntropyLoss'?; valid are {', '.join(DECODE_LOSSES.members())}, and those of custom_imports."),
    (dict(type='BinaryCrossEntropyLoss', old_labels='taught'), '.old_labels: there is no such setting; valid are classes, '
     'loss_name, average, class_weight. old_labels is a setting of UnbiasedCrossEntropyLoss, not of BinaryCrossEntropyLoss.'),
    (dict(type='BinaryCrossEntropyLoss', num_old=3), '.num_old: got 3, but the model and the step determine it; remove it.'),
    (dict(type='CompositeLoss', average='some'), ".average: got 'some', expected 'valid' or 'all'."),
    (dict(type='CompositeLoss', loss_name='ce'), ".loss_name: got 'ce', expected text that matches '^loss_'."),
])
def test_what_is_said_of_a_decode_loss(config, told):
    assert told_by(DECODE_LOSSES.check, config, 'continual.loss_decode') == f'continual.loss_decode{told}'


@pytest.mark.parametrize('config, told', [
    ('CosineClasifier', ".type: got 'CosineClasifier', which is not registered, did you mean 'CosineClassifier'?; "
     'valid are CosineClassifier, NearestMean, StepHeads, and those of custom_imports.'),
    ('FCNHead', ".type: got 'FCNHead', which is not a classifier (of in_channels and num_classes); "
     'valid are CosineClassifier, NearestMean, StepHeads, and those of custom_imports.'),
    (dict(type='CosineClassifier', num_classes=3), '.num_classes: got 3, but the model and the step determine it; remove it.'),
    (dict(type='CosineClassifier', scale=0), '.scale: got 0, expected a number greater than 0.'),
    (5, ': got 5, expected a dict with type; valid are CosineClassifier, NearestMean, StepHeads.'),
])
def test_what_is_said_of_a_classifier(config, told):
    assert told_by(CLASSIFIERS.check, classifier_config(config), 'continual.classifier') == f'continual.classifier{told}'


def test_classifiers_by_the_name_of_their_type():
    for config in ('NearestMean', CLASSIFIERS.members()['NearestMean'], dict(type='NearestMean')):
        assert CLASSIFIERS.check(classifier_config(config), 'continual.classifier').__name__ == 'NearestMean'
    assert classifier_config(None) is None and CLASSIFIERS.check(dict(type='StepHeads'), 'a').__name__ == 'StepHeads'


@pytest.mark.parametrize('config, told', [
    (dict(type='UniformReplay', eta=1), '.eta: there is no such setting; valid are images. eta is a setting of DynamicReplay, not of UniformReplay.'),
    (dict(type='DefaultSampler'), f".type: got 'DefaultSampler', which is not registered; valid are "
     f"{', '.join(REPLAYS.members())}, and those of custom_imports."),
    (dict(type='DynamicReplay', momentum=1), '.momentum: got 1, expected a number less than 1.'),
])
def test_what_is_said_of_a_replay(config, told):
    assert told_by(REPLAYS.check, config, 'continual.online') == f'continual.online{told}'


@pytest.mark.parametrize('losses, told', [
    (dict(unkd=dict(type='UnbiasedDistillation'), uknd=dict(loss_weight=5)),
     ".uknd: got {'loss_weight': 5}, which has no type, and there is no loss of this name, did you mean 'unkd'? "
     'A new loss needs a type.'),
    (dict(pod=dict(loss_weight=5), kd=None), f".pod: got {{'loss_weight': 5}}, expected a dict with type; valid are {VALID_PARTS}."),
    (dict(pod={}), f'.pod: got {{}}, expected a dict with type; valid are {VALID_PARTS}.'),
    (dict(targets=None), ": got a loss called 'targets', which is the name of another part; rename the loss."),
    ([dict(type='LocalPOD')], ": got [{'type': 'LocalPOD'}], expected a dict with the config of each loss by its name."),
    (dict(kd=dict(type='KnowledgeDistillation', alpha=None)), '.kd.alpha: got None, expected a number.'),
])
def test_what_is_said_of_the_losses(losses, told):
    expected = told.replace(VALID_PARTS, ', '.join(PARTS.members()))
    assert told_by(check_losses, losses, 'continual.losses') == f'continual.losses{expected}'


METHODS = sorted((Path(__file__).resolve().parents[2] / 'configs/_base_/methods').glob('*.py'))


def merged(base: Any, changes: Any) -> Any:
    """A config with changes, as a profile makes them."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}


@pytest.mark.parametrize('path', METHODS, ids=lambda path: path.stem)
def test_released_methods_are_taken(path):
    config = Config.fromfile(path)
    for changes in ({}, config.get('official', {}).get('continual', {})):
        method = merged(config.continual, changes)
        check_losses(method.get('losses', {}), 'continual.losses')
        for key, family in dict(targets=PARTS, loss_decode=DECODE_LOSSES, online=REPLAYS, classifier=CLASSIFIERS).items():
            if key in method:
                family.check(classifier_config(method[key]), f'continual.{key}')


def test_an_ablated_loss_is_taken():
    for name, cls in PARTS.members().items():
        if 'loss_weight' in arguments_of(cls):
            PARTS.check(dict(type=name, loss_weight=0), 'a')


@pytest.mark.parametrize('config', [
    dict(type='LocalPOD'), dict(type='mmseg.LocalPOD'), dict(type='mmcss.losses.plop.LocalPOD'), dict(type=LocalPOD),
    dict(type='LocalPOD', _scope_='mmseg')], ids=str)
def test_spellings_of_a_type(config):
    assert PARTS.check(config, 'a') is LocalPOD
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert PARTS.check(config, 'a') is LocalPOD
        assert isinstance(PARTS.build(dict(config, scales=(1, )), 'a'), LocalPOD)


class Plugged(Part):
    """A part of somebody else, whose annotations can't be read."""

    def __init__(self, plain, late: Decimal = 1, width: int = 2) -> None:
        self.settings = plain, late, width


@pytest.mark.parametrize('registry', [MODELS, ROOT])
def test_parts_of_plug_ins(registry):
    """Wherever they are registered they are valid; their settings go by name alone."""
    registry.register_module(module=Plugged)
    try:
        assert PARTS.members()['Plugged'] is Plugged
        assert PARTS.build(dict(type='Plugged', plain='x', late=None, width='y'), 'a').settings == ('x', None, 'y')
        assert told_by(PARTS.check, dict(type='Pluged'), 'a').startswith("a.type: got 'Pluged', which is not registered, did you "
                                                                        "mean 'Plugged'?")
        assert told_by(PARTS.check, dict(type='Plugged', wide=1), 'a') == (
            "a.wide: there is no such setting, did you mean 'width'?; valid are plain, late, width.")
        assert told_by(PARTS.check, dict(type='Plugged'), 'a') == 'a: got {}, which lacks plain.'
        assert told_by(PARTS.check, dict(type='LocalPOD', plain=1), 'a').endswith(' plain is a setting of Plugged, not of LocalPOD.')
    finally:
        registry.module_dict.pop('Plugged')


class Costly(Part):
    """A part that is not to be built in passing."""

    def __init__(self, size: int = 1) -> None:
        raise ValueError(f'size: got {size}, built')


def test_a_check_builds_nothing():
    assert PARTS.check(dict(type=Costly, size=2), 'a') is Costly
    assert told_by(PARTS.build, dict(type=Costly, size=2), 'a') == 'a.size: got 2, built'
