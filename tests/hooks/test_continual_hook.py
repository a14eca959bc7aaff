import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from mmcss.engine import build_scenario, step_config
from mmcss.engine.teardown import tear_down
from mmcss.hooks import ContinualHook, HandOverHook
from mmcss.hooks.continual_hook import Pass, bare_model, load_state, save_state
from mmcss.hooks.random_state_hook import random_state
from mmcss.models import hand_over_meta, load_hand_over
from mmcss.parts import Part
from tests.makers import stems
from tests.tiny import PLOP, loader, tiny_config

STATES = dict(float=torch.tensor([[1.5, -2.]]), long=torch.tensor(7), flag=torch.tensor([True, False]))


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), name


def test_state_survives_the_file(tmp_path):
    save_state(tmp_path / 'part.npz', STATES)
    assert_same(load_state(tmp_path / 'part.npz'), STATES)
    assert [path.name for path in tmp_path.iterdir()] == ['part.npz']


def test_state_is_written_atomically(tmp_path, monkeypatch):
    path = tmp_path / 'part.npz'
    save_state(path, dict(x=torch.tensor(1)))

    def stop(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, 'replace', stop)
    with pytest.raises(KeyboardInterrupt):
        save_state(path, dict(x=torch.tensor(2)))
    assert_same(load_state(path), dict(x=torch.tensor(1)))


def test_pickled_state_is_refused(tmp_path):
    np.savez(tmp_path / 'part.npz', x=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match='allow_pickle'):
        load_state(tmp_path / 'part.npz')


class Thresholds(Part):
    """A part that looks at the data before and after training and counts its looks."""

    def __init__(self):
        self.looks = []
        self.value = torch.zeros(())

    def before_step(self, split, batches):
        self.looks.append(('before', split, batches.student))
        self.value = torch.tensor(1.)

    def after_step(self, split, batches):
        self.looks.append(('after', split, batches.student))
        self.value = self.value + 1

    def state_dict(self):
        return dict(value=self.value)

    def load_state_dict(self, state):
        self.value = state['value']


def step(folder, resume=False, **parts):
    """A runner as far as the hook looks at it."""
    model = SimpleNamespace(split='the split', method=SimpleNamespace(parts=parts))
    return SimpleNamespace(model=model, work_dir=str(folder), _resume=resume, logger=logging.getLogger('test'))


def test_moments_of_a_part_and_its_state(tmp_path):
    part, hook = Thresholds(), ContinualHook()
    runner = step(tmp_path, part=part, silent=Part())
    hook.before_train(runner)
    assert part.looks == [('before', 'the split', False)]
    assert_same(load_state(tmp_path / 'part.npz'), dict(value=torch.tensor(1.)))
    hook.after_train(runner)
    assert part.looks[1:] == [('after', 'the split', True)]
    assert_same(load_state(tmp_path / 'part.npz'), dict(value=torch.tensor(2.)))
    assert [path.name for path in tmp_path.iterdir()] == ['part.npz']  # a part without state leaves no file


def test_resumed_run_reads_what_was_found_before(tmp_path):
    ContinualHook().before_train(step(tmp_path, part=Thresholds()))
    part = Thresholds()
    ContinualHook().before_train(step(tmp_path, resume=True, part=part))
    assert part.looks == [] and part.value == 1


@pytest.mark.parametrize('resume, left_over', [(True, False), (False, True)])
def test_looks_again_where_nothing_was_found_or_the_run_starts_anew(tmp_path, resume, left_over):
    if left_over:
        save_state(tmp_path / 'part.npz', dict(value=torch.tensor(9.)))
    part = Thresholds()
    ContinualHook().before_train(step(tmp_path, resume=resume, part=part))
    assert [look[0] for look in part.looks] == ['before'] and part.value == 1


def build(tiny_data, work_dir, number, **changes):
    cfg = tiny_config(tiny_data, work_dir, **dict(dict(continual=PLOP), **changes))
    return Runner.from_cfg(step_config(cfg, build_scenario(cfg), number, str(work_dir)))


@pytest.fixture(scope='module')
def work_dir(tiny_data, tmp_path_factory):
    """Holds the hand-over of an untrained step 0."""
    folder = tmp_path_factory.mktemp('pass')
    runner = build(tiny_data, folder, 0)
    runner.model.init_weights()
    next(hook for hook in runner.hooks if isinstance(hook, HandOverHook)).after_train(runner)
    tear_down(runner)
    return folder


@pytest.fixture(scope='module')
def runner(tiny_data, work_dir):
    """Step 1 of PLOP, before training."""
    runner = build(tiny_data, work_dir, 1)
    runner.model.init_weights()
    yield runner
    tear_down(runner)


@pytest.fixture
def looks(runner, monkeypatch):
    """Names of the images that the model looked at."""
    seen = []
    model = bare_model(runner)
    look = model.look

    def record(inputs, data_samples):
        seen.extend(Path(sample.img_path).stem for sample in data_samples)
        return look(inputs, data_samples)

    monkeypatch.setattr(model, 'look', record)
    return seen


def test_hand_over_of_a_runner(work_dir):
    meta = hand_over_meta(work_dir / 'step_0' / 'step_0.pth')
    assert meta['classes'] == ['background', 'red', 'green'] and meta['parent'] is None
    assert (meta['step'], meta['num_steps'], meta['regime']) == (0, 3, 'overlapped')
    assert meta['dataset_meta']['palette'] == [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
    state = load_hand_over(work_dir / 'step_0' / 'step_0.pth')['state_dict']
    assert state['decode_head.conv_seg.weight'].shape[0] == 3


def test_pass_sees_each_image_once(runner, looks):
    """Seven of the twelve images are blue, in batches of four."""
    batches = list(Pass(runner, student=False))
    assert looks == ['000', '001', '002', '006', '008', '009', '010']
    assert [len(batch.raw_target) for batch in batches] == [4, 3]


def test_pass_sees_repeated_images_once(tiny_data, tmp_path):
    """Training repeats the images of a small step to fill a batch; statistics shall not count some twice."""
    few = build(tiny_data, tmp_path, 0, train_dataloader=dict(loader(tiny_data, 'train'), batch_size=16))
    dataset = few.train_dataloader.dataset
    assert (len(dataset), len(set(stems(dataset)))) == (16, 8)
    number = sum(len(batch.raw_target) for batch in Pass(few, student=False))
    tear_down(few)
    assert number == 8


def test_pass_shows_labels_and_predictions(runner):
    model = bare_model(runner)
    for student in (False, True):
        for batch in Pass(runner, student):
            assert batch.split == model.split
            assert batch.target is batch.raw_target
            assert set(batch.raw_target.unique().tolist()) <= {0, 3, 255}
            assert (batch.raw_target == 3).any(dim=(1, 2)).all()  # each image holds the new class
            assert batch.teacher.head_logits.shape[:2] == (len(batch.target), 3)
            assert batch.teacher.logits.shape[2:] == batch.target.shape[1:]
            assert (batch.student is not None) == student
            if student:
                assert batch.student.head_logits.shape[:2] == (len(batch.target), 4)
                assert not batch.student.head_logits.requires_grad
                assert len(batch.student.stages) == len(batch.teacher.stages) == 4


def test_pass_predicts_in_evaluation_mode_and_leaves_the_model_as_it_was(runner):
    model = bare_model(runner)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in Pass(runner, student=True):
        assert not model.training
    assert model.training and torch.is_grad_enabled()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    list(Pass(runner, student=True))
    assert not model.training
    model.train()


def same_states(a, b):
    return all(torch.equal(x, y) for x, y in ((a['torch'], b['torch']), (a['numpy'][1], b['numpy'][1]),
                                              (a['python'][1], b['python'][1]))) and a['numpy'][2:] == b['numpy'][2:]


def test_pass_leaves_the_random_numbers_as_they_were(runner):
    """Though its pipeline flips and distorts."""
    before = random_state()
    batches = iter(Pass(runner, student=False))
    next(batches)
    assert not same_states(random_state(), before)
    list(batches)
    assert same_states(random_state(), before)


def test_a_pass_that_is_broken_off_leaves_everything_as_it_was(runner):
    model = bare_model(runner).train()
    before = random_state()
    for _ in Pass(runner, student=False):
        break
    assert same_states(random_state(), before)
    assert model.training


def test_a_pass_that_is_not_looked_at_costs_nothing(runner, looks):
    Pass(runner, student=True)
    assert looks == []


def test_two_passes_look_alike(runner):
    """Augmentations differ from pass to pass only as the random numbers before them do."""
    first, second = ([batch.teacher.head_logits for batch in Pass(runner, student=False)] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second)) and len(first) == 2
