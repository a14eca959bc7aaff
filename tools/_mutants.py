"""Configs with one thing wrong in them: what tools/fuzz_configs.py and its test draw."""
from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mmcss.files import plain, short
from mmengine.config import Config

from _soak_runs import make_config

METHODS = Path(__file__).resolve().parents[1] / 'configs' / '_base_' / 'methods'
Keys = Tuple[Any, ...]

# How often a section of the config is drawn; others once.
WEIGHTS = dict(continual=30, scenario=10, next_steps=8, first_step=4, protocol=5, run=6, official=3, model=12,
               train_dataloader=12, test_dataloader=6, val_dataloader=3, test_evaluator=5, val_evaluator=2,
               optim_wrapper=8, param_scheduler=6, train_cfg=6, default_hooks=6, visualizer=3, custom_hooks=2)
WRONG = (None, True, 'x', 1.5, -1, 0, [], {}, float('nan'), 10**9)
# Registered types, one of each family.
TYPES = ('SGD', 'OptimWrapper', 'ResNetV1c', 'FCNHead', 'CrossEntropyLoss', 'EncoderDecoder', 'SegDataPreProcessor',
         'PolyLR', 'EpochBasedTrainLoop', 'TestLoop', 'LoggerHook', 'IoUMetric', 'DefaultSampler', 'BaseSegDataset',
         'LoadImageFromFile', 'SegLocalVisualizer', 'LocalVisBackend', 'LocalPOD', 'EntropyPseudoLabels',
         'UnbiasedCrossEntropyLoss', 'CosineClassifier', 'UniformReplay', 'ContinualIoUMetric', 'StepDataset')
# Settings of many components, to be given to others.
FOREIGN = (('loss_weight', 1.0), ('scales', [1, 2]), ('threshold', 0.5), ('temperature', 1.0), ('alpha', 0.5), ('size', 4),
           ('policy', 'herding'), ('lr', 0.1), ('interval', 1), ('shuffle', True), ('prob', 0.5), ('max_iters', 2),
           ('num_classes', 4), ('by_epoch', True), ('batch_size', 2), ('images', 2), ('base', 1))
LETTERS = 'aeinst_'
LONGEST = 2  # entries of a list that are changed: a palette has many that are alike


@dataclass(frozen=True)
class Mutant:
    """A valid config and one change of it.

    Args:
        base: Name of the valid config, see :data:`BASES`.
        kind: What is wrong, for the table.
        action: 'set', 'rename', 'delete', 'lift', 'sink' or 'insert'.
        path: Keys down to what is changed.
        value: What is set or inserted, or the new name.
    """

    base: str
    kind: str
    action: str
    path: Keys
    value: Any = None

    @property
    def place(self) -> str:
        """The full key."""
        return ''.join(f'[{key}]' if isinstance(key, int) else f'.{key}' for key in self.path)[1:]

    def __str__(self) -> str:
        change = {'set': f'={short(self.value)}', 'insert': f' gets {short(self.value)}',
                'rename': f' is called {self.value!r}', 'sink': f' moves into {self.value}',
                'lift': ' moves a level up', 'delete': ' is deleted'}[self.action]
        return f'{self.base}: {self.place}{change}'

    def to_json(self) -> str:
        """What :meth:`from_json` makes the mutant of."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Mutant:
        """The inverse of :meth:`to_json`."""
        given = json.loads(text)
        return cls(**dict(given, path=tuple(given['path'])))

    def apply(self, config: Dict[str, Any]) -> Dict[str, Any]:
        """A copy of a config, changed."""
        config = copy.deepcopy(config)
        *parents, key = self.path
        node = _at(config, parents)
        if self.action == 'set':
            node[key] = copy.deepcopy(self.value)
        elif self.action == 'rename':
            renamed = {self.value if name == key else name: value for name, value in node.items()}
            node.clear()
            node.update(renamed)
        elif self.action == 'delete':
            del node[key]
        elif self.action == 'lift':
            _at(config, parents[:-1])[key] = node.pop(key)
        elif self.action == 'sink':
            node[self.value][key] = node.pop(key)
        elif isinstance(node[key], list):
            node[key].append(copy.deepcopy(self.value))
        else:
            node[key].update([copy.deepcopy(self.value)])
        return config


def base_config(name: str, data: Path, work_dir: Path) -> Dict[str, Any]:
    """One of :data:`BASES`: two steps of a tiny model and one iteration or two, with settings of mmcss written out.

    Args:
        name: A key of :data:`BASES`.
        data: Folder of :func:`_soak_runs.write_data`.
        work_dir: Folder of the run.
    """
    config = plain(make_config(data, work_dir)._cfg_dict)
    method = Config.fromfile(METHODS / f'{name.split(":")[0]}.py')
    config.update(continual=plain(method.continual), scenario=dict(type='ClassIncremental', base=3, increment=1),
                  custom_hooks=[dict(type='FewIterations')], run=dict(steps='0-1', hand_over='last'),
                  protocol=dict(future='background', background=True, images='seen', absent='stock'))
    config['train_cfg']['max_epochs'] = 1
    config['model']['backbone'].update(base_channels=4)
    config['model']['decode_head'].update(in_channels=32, channels=8)
    BASES[name](config, plain(method._cfg_dict))
    return config


def _plop(config: Dict[str, Any], method: Dict[str, Any]) -> None:
    config['continual'].update(average='valid', ignore_as_background=False, over_processes=True,
                               stages=['backbone.layer3', 'backbone.layer4'])
    config['scenario'] = dict(steps='3-1', class_order=['class2', 'class1', 'class3', 'class4'],
                               regime='overlapped', joint=False)


def _official(config: Dict[str, Any], method: Dict[str, Any]) -> None:
    config.update(profile='official', official=method['official'], protocol='plop')


def _mib(config: Dict[str, Any], method: Dict[str, Any]) -> None:
    config['first_step'] = dict(train_dataloader=dict(batch_size=2), optim_wrapper=dict(clip_grad=dict(max_norm=1.0)))
    config['next_steps']['continual'] = dict(losses=dict(unkd=dict(loss_weight=5.0)))


def _ssul_m(config: Dict[str, Any], method: Dict[str, Any]) -> None:
    config['continual'].update(unknown=dict(of='background', scores='sigmoid'), row_lr=dict(background=1e-4))
    config['continual']['memory'] = dict(
        size=4, policy='class_balanced', share=0.5, iterations='kept', labels='stored', export=True)


def _reminder(config: Dict[str, Any], method: Dict[str, Any]) -> None:
    config['train_cfg'] = dict(type='IterBasedTrainLoop', max_iters=1)
    config['default_hooks']['checkpoint'].update(by_epoch=False)
    config['param_scheduler'] = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1),
                                 dict(type='PolyLR', power=0.9, by_epoch=False, begin=1, end=2)]
    config['train_dataloader']['sampler'] = dict(type='InfiniteSampler', shuffle=True)


def _ewc(config: Dict[str, Any], method: Dict[str, Any]) -> None:
    config.update(val_dataloader=copy.deepcopy(config['test_dataloader']), val_cfg=dict(type='ValLoop'),
                  val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']), run=dict(hand_over='best', skip_broken=False))
    config['train_cfg']['val_interval'] = 1
    config['default_hooks']['checkpoint'].update(save_best='mIoU', rule='greater')


def _online(config: Dict[str, Any], method: Dict[str, Any]) -> None:
    config['next_steps'].update(train_cfg=dict(max_epochs=1), train_dataloader=dict(batch_size=2), param_scheduler=[])
    config['continual']['memory']['size'] = 4
    config['continual']['online']['images'] = 2
    if 'candidates' in config['continual']['online']:
        config['continual']['online']['candidates'] = 4


def _domains(config: Dict[str, Any], method: Dict[str, Any]) -> None:
    config['scenario'] = dict(type='DomainIncremental', domains=['00', '01'],
                              rule=dict(prefix=2), test_share=0.5, seed=0, partition='once', joint=False)
    config['test_dataloader']['dataset']['data_prefix'] = dict(config['train_dataloader']['dataset']['data_prefix'])


def _as_it_is(config: Dict[str, Any], method: Dict[str, Any]) -> None:
    """Nothing to add."""


# What the valid configs have besides their method; behind a colon stands another use of the same method.
BASES: Dict[str, Callable[[Dict[str, Any], Dict[str, Any]], None]] = {
    'plop': _plop, 'plop:official': _official, 'mib': _mib, 'ssul_m': _ssul_m, 'reminder': _reminder, 'ewc': _ewc,
    'er': _online, 'mir': _online, 'online_em': _online, 'icarl': _online, 'mib_domain': _domains, 'sdr': _as_it_is,
    'lwf_mc': _as_it_is}


def draw_mutants(number: int, start: int, bases: Dict[str, Dict[str, Any]], sections: Sequence[str] = ()) -> List[Mutant]:
    """Draw mutants by hypothesis.

    Args:
        number: How many.
        start: Seed; the same one draws the same mutants.
        bases: The valid configs by name.
        sections: The top keys below which something is changed; all where there is none.
    """
    drawn: List[Mutant] = []

    @seed(start)
    @settings(max_examples=number, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(mutants(bases, sections))
    def draw(mutant: Mutant) -> None:
        drawn.append(mutant)

    draw()
    return drawn[:number]


@st.composite
def mutants(draw: Callable[[Any], Any], bases: Dict[str, Dict[str, Any]], sections: Sequence[str] = ()) -> Mutant:
    """Mutants of valid configs."""
    base = draw(st.sampled_from([name for name in sorted(bases) if not sections or set(sections) & set(bases[name])]))
    config = bases[base]
    # What is drawn first is drawn most.
    keys = sorted(config, key=lambda key: -WEIGHTS.get(key, 1))
    section = draw(st.sampled_from([key for key in keys if not sections or key in sections for _ in range(WEIGHTS.get(key, 1))]))
    path = draw(st.sampled_from(list(paths(config[section], (section, )))))
    kind, action, value = draw(st.sampled_from(_changes(config, path)))
    if action == 'rename' or kind == 'misspelt type':
        value = draw(misspelt(value))
    return Mutant(base, kind, action, path, value)


@st.composite
def misspelt(draw: Callable[[Any], Any], word: str) -> str:
    """A word with two letters exchanged, one left out, or one too much."""
    at = draw(st.integers(0, max(len(word) - 2, 0)))
    how = draw(st.sampled_from(['swap', 'drop', 'add']))
    if how == 'swap' and word[at:at + 2] != word[at:at + 2][::-1]:
        return word[:at] + word[at:at + 2][::-1] + word[at + 2:]
    if how == 'drop' and len(word) > 2:
        return word[:at] + word[at + 1:]
    return word[:at + 1] + draw(st.sampled_from(LETTERS)) + word[at + 1:]


def paths(node: Any, here: Keys = ()) -> Iterator[Keys]:
    """All keys of a config, from the top."""
    yield here
    entries: Sequence[Tuple[Any, Any]] = list(node.items()) if isinstance(node, dict) else []
    if isinstance(node, list):
        entries = list(enumerate(node))[:LONGEST]
    for key, value in entries:
        yield from paths(value, (*here, key))


def _changes(config: Dict[str, Any], path: Keys) -> List[Tuple[str, str, Any]]:
    """The kinds of change that can be made at a path, with their action and value."""
    value, parent = _at(config, path), _at(config, path[:-1])
    changes = [('wrong kind' if wrong not in (0, -1, 10**9) else 'range', 'set', wrong) for wrong in WRONG
             if repr(wrong) != repr(value) and (path[-1], wrong) != ('num_workers', 10**9)]  # which would be tried
    if path[-1] == 'type':
        changes += [('misspelt type', 'set', value)] * 10
        return changes + [('other type', 'set', other) for other in TYPES if other != value]
    if isinstance(value, list):
        changes += [('wrong entry', 'insert', wrong) for wrong in WRONG]
    if isinstance(value, dict):
        changes += [('foreign setting', 'insert', list(pair)) for pair in FOREIGN if pair[0] not in value]
    if isinstance(path[-1], str):
        changes += [('misspelt key', 'rename', path[-1])] * 5 + [('deleted', 'delete', None)] * 2
        if len(path) > 1 and isinstance(_at(config, path[:-2]), dict):
            changes += [('moved', 'lift', None)] * 2
        changes += [('moved', 'sink', name) for name, other in parent.items()
                  if isinstance(other, dict) and name != path[-1]][:3]
    return changes


def _at(node: Any, path: Sequence[Any]) -> Any:
    for key in path:
        node = node[key]
    return node
