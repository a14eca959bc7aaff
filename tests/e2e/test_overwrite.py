"""What a run replaces, and what it refuses to touch."""
import hashlib
import shutil

import pytest

from mmcss.engine import ContinualRunner
from tests.e2e.running import run
from tests.tiny import MIB, tiny_config


@pytest.fixture
def copied(plop_run, tmp_path):
    """A finished run of three steps that may be damaged."""
    shutil.copytree(plop_run[0], tmp_path / 'copy')
    return tmp_path / 'copy'


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('changes, steps, told', [
    ({}, None, r'finished steps that this run would train anew: \[0, 1, 2\]\. --resume .* --overwrite'),
    (dict(continual=MIB), None, r'finished steps of another scenario or method that this run would train anew: \[0, 1, 2\]'),
    (dict(scenario=dict(base=2, increment=1, regime='disjoint')), '0', r'of another scenario or method .* anew: \[0\]'),
    ({}, '1', r'anew: \[1\]'),
    ({}, '1-2', r'anew: \[1, 2\]'),
])
def test_finished_steps_are_not_replaced_unasked(copied, tiny_data, changes, steps, told):
    before = digests(copied)
    with pytest.raises(ValueError, match=told):
        run(tiny_config(tiny_data, copied, **changes), **(dict(steps=steps) if steps else {}))
    assert digests(copied) == before
    cfg = tiny_config(tiny_data, copied, **changes)
    cfg.run = dict(rehearsal=False, report=False, **(dict(steps=steps) if steps else {}))
    with_note = ContinualRunner.from_cfg(cfg).describe()
    assert 'note: the run would be refused: ' in with_note and '--overwrite' in with_note


@pytest.mark.parametrize('resume, overwrite', [(False, False), (True, False)])
@pytest.mark.parametrize('damage', [lambda path: path.write_bytes(path.read_bytes()[:1000]), lambda path: path.write_bytes(b'')])
def test_a_hand_over_that_can_not_be_read_stops_a_run(copied, tiny_data, damage, resume, overwrite):
    damage(copied / 'step_0' / 'step_0.pth')
    before = digests(copied)
    for steps in (None, '0', '1'):
        options = dict(steps=steps) if steps else {}
        with pytest.raises(ValueError, match=r'step_0\.pth can not be read .* truncated'):
            run(tiny_config(tiny_data, copied, resume=resume), **options)
    with pytest.raises(ValueError, match=r'step_0\.pth can not be read'):
        ContinualRunner.from_cfg(tiny_config(tiny_data, copied)).test()
    assert digests(copied) == before


def test_altered_weights_stop_what_stands_on_them(copied, tiny_data):
    path = copied / 'step_0' / 'step_0.pth'
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64:])
    for changes in (dict(resume=True), dict(run=dict(steps='1'))):
        with pytest.raises(ValueError, match=r'step_0\.pth is damaged: its bytes'):
            ContinualRunner.from_cfg(tiny_config(tiny_data, copied, **changes)).train()


def test_both_options_are_refused(tiny_data, tmp_path):
    with pytest.raises(ValueError, match='--resume goes on .* --overwrite begins them anew: give only one of them'):
        ContinualRunner.from_cfg(tiny_config(tiny_data, tmp_path, resume=True, run=dict(overwrite=True)))


def test_damaged_small_files(copied, tiny_data, capsys):
    (copied / 'step_1' / 'result.json').write_text('{"mIoU"')
    cfg = tiny_config(tiny_data, copied, resume=True)
    before = digests(copied)
    assert ContinualRunner.from_cfg(cfg).progress.intents() == ['finished', 'test', 'finished']
    assert 'result.json is damaged' in capsys.readouterr().out
    with pytest.raises(ValueError, match='result.json is damaged'):
        run(cfg, steps='2')  # which leaves step 1 alone
    assert len(run(cfg)['steps']) == 3
    changed = {path.relative_to(copied).parts[:2] for path, digest in digests(copied).items() if before.get(path) != digest}
    assert not any(name.endswith('.pth') for _, name in changed if name)
    (copied / 'step_1' / 'step.json').write_text('[]')
    with pytest.raises(ValueError, match=r'step\.json is damaged: it holds \[\], expected a dict'):
        run(cfg)
