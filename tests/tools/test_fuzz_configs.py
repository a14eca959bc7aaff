"""Spoilt configs: each is refused with an error that names key, got and valid, or trains."""
import sys
from pathlib import Path

import pytest


TOOLS = Path(__file__).resolve().parents[2] / 'tools'
sys.path.insert(0, str(TOOLS))
from _mutant_runs import FAULTS, Outcome, judge, lacks, try_all  # noqa: E402
from _mutants import BASES, Mutant, base_config, draw_mutants, paths  # noqa: E402
from _soak_runs import write_data  # noqa: E402
from fuzz_configs import table  # noqa: E402

NUMBER, SEED = 300, 17
TRAINED = 12  # one of so many is trained as well


def test_every_outcome_is_clear(tmp_path):
    """The tool runs 2,000 and trains them all; these are always the same."""
    data = write_data(tmp_path / 'data', train=12, val=2)
    bases = {name: base_config(name, data, tmp_path / 'work') for name in BASES}
    drawn = [Mutant(name, 'valid', 'set', ('log_level', ), 'ERROR') for name in BASES]
    drawn += draw_mutants(NUMBER, SEED, bases)
    print(f'seed {SEED}')
    tries = [(mutant, number < len(BASES) or number % TRAINED == 0) for number, mutant in enumerate(drawn)]
    ended = {number: outcome for number, outcome, _ in try_all(tries, data, tmp_path / 'runs')}
    faults = [f'{ended[number].kind} {drawn[number]}: {ended[number].error[:300]}\n  {drawn[number].to_json()}'
              for number in sorted(ended) if ended[number].kind in FAULTS]
    assert not faults, '\n'.join(faults)
    assert len(ended) == NUMBER + len(BASES)
    assert [ended[number].kind for number in range(len(BASES))] == ['trained'] * len(BASES)
    assert sum(outcome.kind == 'refused' for outcome in ended.values()) > NUMBER / 2


CONFIG = dict(run=dict(steps='0-1'), model=dict(head=dict(type='FCNHead', channels=8), sizes=[1, 2, 3]))


@pytest.mark.parametrize('action, path, value, expected', [
    ('set', ('run', 'steps'), None, dict(CONFIG, run=dict(steps=None))),
    ('set', ('model', 'sizes', 1), 'x', dict(CONFIG, model=dict(CONFIG['model'], sizes=[1, 'x', 3]))),
    ('rename', ('run', 'steps'), 'step', dict(CONFIG, run=dict(step='0-1'))),
    ('delete', ('run', ), None, dict(model=CONFIG['model'])),
    ('lift', ('run', 'steps'), None, dict(CONFIG, run={}, steps='0-1')),
    ('sink', ('run', ), 'model', dict(model=dict(CONFIG['model'], run=dict(steps='0-1')))),
    ('insert', ('run', ), ['size', 4], dict(CONFIG, run=dict(steps='0-1', size=4))),
    ('insert', ('model', 'sizes'), {}, dict(CONFIG, model=dict(CONFIG['model'], sizes=[1, 2, 3, {}]))),
])
def test_changes(action, path, value, expected):
    before = repr(CONFIG)
    mutant = Mutant('plop', 'some kind', action, path, value)
    assert mutant.apply(CONFIG) == expected and repr(CONFIG) == before
    assert Mutant.from_json(mutant.to_json()).apply(CONFIG) == expected


def test_a_seed_draws_the_same_mutants():
    bases = {'plop': CONFIG}
    drawn = [list(map(str, draw_mutants(60, seed, bases))) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 60
    for mutant in draw_mutants(60, 0, bases):
        assert mutant.path in list(paths(CONFIG)) and repr(mutant.apply(CONFIG)) != repr(CONFIG)


def mutant(action='set', path=('continual', 'memory', 'size'), value='x', kind='wrong kind'):
    return Mutant('plop', kind, action, path, value)


@pytest.mark.parametrize('text, lacking', [
    ("continual.memory.size: got 'x', expected an integer.", ()),
    ("continual.memory.sizes: got 'x', expected an integer.", ()),  # the key above it
    ("the size: got 'x', expected an integer.", ()),
    ("continual: got 'x', expected an integer.", ('key', )),
    ('continual.memory.size: expected an integer.', ('got', )),
    ("continual.memory.size is 'x'", ('valid', )),
    ("unhashable type: 'list'", ('key', 'got', 'valid')),
])
def test_what_an_error_lacks(text, lacking):
    assert lacks(mutant(), text) == lacking


def found_by_rehearsal():
    error = ValueError('on random images: the loss is nan')
    error.__cause__ = FloatingPointError('the loss is nan')
    return error


VALID = dict(continual=dict(memory=dict(size=4), losses=dict(kd=dict(type='KnowledgeDistillation'))),
             run={}, protocol={}, next_steps={})


@pytest.mark.parametrize('mutant, error, began, kind', [
    (mutant(), None, True, 'trained'),
    (mutant(), ValueError("size: got 'x', expected 1"), False, 'refused'),
    (mutant(), ValueError('something is wrong'), False, 'vague'),
    (mutant(), TypeError("size: got 'x', expected 1"), False, 'raw'),
    (mutant(), ValueError("size: got 'x', expected 1"), True, 'late'),
    (mutant(value=10**9), FloatingPointError('the loss is nan'), True, 'diverged'),
    (mutant(value=10**9), found_by_rehearsal(), False, 'diverged'),
    (mutant(value=float('nan')), FloatingPointError('the loss is nan'), True, 'late'),
    (mutant('rename', value='sise', kind='misspelt key'), None, True, 'silent'),
    (mutant('rename', ('continual', ), 'continuals', 'misspelt key'), None, True, 'silent'),
    (mutant('rename', ('next_steps', 'train_cfg'), 'train_cgf', 'misspelt key'), None, True, 'silent'),
    (mutant('rename', ('continual', 'losses', 'kd'), 'dk', 'misspelt key'), None, True, 'trained'),
    (mutant('rename', ('env_cfg', 'cudnn_benchmark'), 'cudnn', 'misspelt key'), None, True, 'trained'),
    (mutant('insert', ('run', ), ['size', 4], 'foreign setting'), None, True, 'silent'),
    (mutant('insert', ('next_steps', ), ['size', 4], 'foreign setting'), None, True, 'trained'),
    (mutant('insert', ('continual', 'losses', 'kd'), ['loss_weight', 4], 'foreign setting'), None, True, 'trained'),
    (mutant('insert', ('continual', 'losses', 'kd'), ['size', 4], 'foreign setting'), None, True, 'silent'),
    (mutant('lift', ('run', 'steps'), None, 'moved'), None, True, 'silent'),
    (mutant('lift', ('next_steps', 'train_cfg'), None, 'moved'), None, True, 'trained'),
    (mutant('sink', ('continual', ), 'env_cfg', 'moved'), None, True, 'silent'),
])
def test_judgements(mutant, error, began, kind):
    assert judge(mutant, VALID, error, began, trained=True).kind == kind


def test_a_table():
    other = mutant(path=('model', ))
    told = table([(mutant(), Outcome('raw', 'e')), (mutant(), Outcome('refused')), (other, Outcome('raw'))])
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in told.splitlines() if line.startswith('|')]
    assert rows == [['section', 'refused', 'raw', 'all'], ['continual', '1', '1', '2'], ['model', '0', '1', '1'],
                    ['all', '1', '2', '3']]
