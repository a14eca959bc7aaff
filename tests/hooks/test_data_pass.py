from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import AmpOptimWrapper

from mmcss.engine.isolation import tear_down
from mmcss.hooks import MemoryHook
from mmcss.hooks.data_pass import Pass, bare_model, common_seed, memory_dataset, step_dataset
from mmcss.models import hand_over_meta, load_hand_over
from mmcss.parts import Needs
from mmcss.random_state import random_state
from mmcss.session import SeededImages
from tests.hooks.runners import leave_first_step, runner_of
from tests.makers import stems
from tests.tiny import PLOP, loader, tiny_config

NEEDS = Needs(stages=True, logits=True)


@pytest.fixture(scope='module')
def work_dir(tiny_data, tmp_path_factory):
    """Holds the hand-over of an untrained step 0."""
    folder = tmp_path_factory.mktemp('pass')
    leave_first_step(tiny_config(tiny_data, folder, continual=PLOP))
    return folder


@pytest.fixture(scope='module')
def runner(tiny_data, work_dir):
    """Step 1 of PLOP, before training."""
    runner = runner_of(tiny_config(tiny_data, work_dir, continual=PLOP), 1)
    runner.model.init_weights()
    yield runner
    tear_down(runner)


@pytest.fixture
def predicted_images(runner, monkeypatch):
    """Names of the images that the model looked at."""
    seen = []
    model = bare_model(runner)
    predict_batch = model.predict_batch

    def record(inputs, data_samples, needs, student):
        seen.extend(Path(sample.img_path).stem for sample in data_samples)
        return predict_batch(inputs, data_samples, needs, student)

    monkeypatch.setattr(model, 'predict_batch', record)
    return seen


def test_hand_over_of_a_runner(work_dir):
    meta = hand_over_meta(work_dir / 'step_0' / 'step_0.pth')
    assert meta['classes'] == ['background', 'red', 'green'] and meta['parent'] is None
    assert (meta['step'], meta['num_steps'], meta['regime']) == (0, 3, 'overlapped')
    assert meta['dataset_meta']['palette'] == [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
    state = load_hand_over(work_dir / 'step_0' / 'step_0.pth')['state_dict']
    assert state['decode_head.conv_seg.weight'].shape[0] == 3


def test_pass_sees_each_image_once(runner, predicted_images):
    """Seven of the twelve images are blue, in batches of four."""
    batches = list(Pass(runner, NEEDS, student=False))
    assert predicted_images == ['000', '001', '002', '006', '008', '009', '010']
    assert [len(batch.raw_target) for batch in batches] == [4, 3]


def test_pass_sees_repeated_images_once(tiny_data, tmp_path):
    """Training repeats the images of a small step to fill a batch; statistics shall not count some twice."""
    batches = dict(loader(tiny_data, 'train'), batch_size=16)
    few = runner_of(tiny_config(tiny_data, tmp_path, continual=PLOP, train_dataloader=batches), 0)
    dataset = few.train_dataloader.dataset
    assert (len(dataset), len(set(stems(dataset)))) == (16, 8)
    number = sum(len(batch.raw_target) for batch in Pass(few, NEEDS, student=False))
    tear_down(few)
    assert number == 8


def test_pass_and_memory_see_all_images_of_an_epoch_cut_short(tiny_data, tmp_path):
    """mmengine shows a part of them (num_batch_per_epoch)."""
    batches = dict(loader(tiny_data, 'train'), num_batch_per_epoch=1)
    cfg = tiny_config(tiny_data, tmp_path, continual=dict(PLOP, memory=dict(size=3)), train_dataloader=batches)
    leave_first_step(cfg, MemoryHook)
    cut = runner_of(cfg, 1)
    assert (len(cut.train_dataloader.dataset), len(step_dataset(cut))) == (4, 7)
    number = sum(len(batch.raw_target) for batch in Pass(cut, NEEDS, student=False))
    dataset = memory_dataset(cut)
    named = [Path(dataset.get_data_info(len(dataset) + i)['img_path']).name for i in range(dataset.num_memory)]
    tear_down(cut)
    assert number == 7 and named == [one.name for one in dataset.memory.exemplars] and len(named) == 3


def test_pass_shows_labels_and_predictions(runner):
    model = bare_model(runner)
    for student in (False, True):
        for batch in Pass(runner, NEEDS, student):
            assert batch.split == model.split
            assert batch.target is batch.raw_target
            assert set(batch.raw_target.unique().tolist()) <= {0, 3, 255}
            assert (batch.raw_target == 3).any(dim=(1, 2)).all()  # each image holds the new class
            assert (batch.student is not None) == student == (batch.teacher is None)
            seen = batch.student if student else batch.teacher
            assert seen.head_logits.shape[:2] == (len(batch.target), 4 if student else 3)
            assert seen.logits.shape[2:] == batch.target.shape[1:]
            assert not seen.head_logits.requires_grad
            assert len(seen.stages) == 4 and seen.embedding is None


def test_a_pass_with_another_view_of_the_labels(runner):
    """Pixels of other classes, which are background to the others, are ignored."""
    needs = Needs(view=dict(ignore_others=True))
    raw = [(batch.raw_target == 0).sum().item() for batch in Pass(runner, NEEDS, student=False)]
    true = [(batch.raw_target == 0).sum().item() for batch in Pass(runner, needs, student=False)]
    ignored = [(batch.raw_target == 255).sum().item() for batch in Pass(runner, needs, student=False)]
    assert len(true) == len(raw) and 0 < sum(true) < sum(raw) <= sum(true) + sum(ignored)


def test_pass_predicts_in_evaluation_mode_and_leaves_the_model_as_it_was(runner):
    model = bare_model(runner)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in Pass(runner, NEEDS, student=True):
        assert not model.training
    assert model.training and torch.is_grad_enabled()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    list(Pass(runner, NEEDS, student=True))
    assert not model.training
    model.train()


def same_states(a, b):
    return all(torch.equal(x, y) for x, y in ((a['torch'], b['torch']), (a['numpy'][1], b['numpy'][1]),
                                              (a['python'][1], b['python'][1]))) and a['numpy'][2:] == b['numpy'][2:]


def test_pass_leaves_the_random_numbers_as_they_were(runner):
    """Though its pipeline flips and distorts."""
    before = random_state()
    batches = iter(Pass(runner, NEEDS, student=False))
    next(batches)
    assert not same_states(random_state(), before)
    list(batches)
    assert same_states(random_state(), before)


def test_all_processes_have_one_seed(monkeypatch):
    """Also where mmengine gives each its own."""
    for rank in range(2):
        monkeypatch.setattr('mmcss.hooks.data_pass.get_rank', lambda rank=rank: rank)
        for randomness, seed in ((dict(seed=5), 5), (dict(seed=5, diff_rank_seed=True), 5 + rank), ({}, 5)):
            assert common_seed(SimpleNamespace(cfg=dict(randomness=randomness), seed=seed)) == 5


def test_a_pass_runs_in_the_precision_of_the_training(runner, monkeypatch):
    monkeypatch.setattr(AmpOptimWrapper, '__init__', lambda self, dtype: setattr(self, 'cast_dtype', dtype))
    for wrapper, dtype in ((runner.optim_wrapper, torch.float32), (AmpOptimWrapper(torch.bfloat16), torch.bfloat16)):
        monkeypatch.setattr(runner, 'optim_wrapper', wrapper)
        assert next(iter(Pass(runner, NEEDS, student=True))).student.head_logits.dtype == dtype


def test_a_pass_that_is_broken_off_leaves_everything_as_it_was(runner):
    model = bare_model(runner).train()
    before = random_state()
    for _ in Pass(runner, NEEDS, student=False):
        break
    assert same_states(random_state(), before)
    assert model.training


def test_a_pass_that_is_not_looked_at_costs_nothing(runner, predicted_images):
    Pass(runner, NEEDS, student=True)
    assert predicted_images == []


def test_two_passes_look_alike(runner):
    """Augmentations differ from pass to pass only as the random numbers before them do."""
    first, second = ([batch.teacher.head_logits for batch in Pass(runner, NEEDS, student=False)] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second)) and len(first) == 2


@pytest.mark.parametrize('processes', [1, 2])
def test_passes_of_one_part_augment_anew(runner, monkeypatch, processes):
    """Alike in a run that begins the step again, and in however many processes."""
    model, predict_batch = bare_model(runner), bare_model(runner).predict_batch

    def passes():
        found = [{}, {}, {}]
        monkeypatch.setattr(model, 'predict_batch', lambda inputs, samples, *given: found[number].update(
            {sample.img_path: image for image, sample in zip(inputs, samples)}) or predict_batch(inputs, samples, *given))
        for rank in range(processes):
            monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, processes))
            images = Pass(runner, Needs(), student=False)
            for number in range(3):  # noqa: B007  read above
                list(images)
        return found

    first, again = passes(), passes()
    monkeypatch.undo()
    seeded = [SeededImages(runner.train_dataloader.dataset, range(7), common_seed(runner), number) for number in range(3)]
    expected = [{one['data_samples'].img_path: model.data_preprocessor(dict(inputs=[one['inputs']]))['inputs'][0] for one in images}
                for images in seeded]
    for one, other, right in zip(first, again, expected):
        assert len(one) == 7 and all(torch.equal(image, other[name]) and torch.equal(image, right[name])
                                     for name, image in one.items())
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert not any(torch.equal(image, first[other][name]) for name, image in first[one].items())


def test_augmentations_depend_on_the_image_alone(runner):
    """Not on which process or batch it comes in: several processes find what one finds."""
    dataset = runner.train_dataloader.dataset
    whole, part = SeededImages(dataset, range(7), seed=5), SeededImages(dataset, [4, 2], seed=5)
    for number, image in ((0, 4), (1, 2)):
        assert torch.equal(part[number]['inputs'], whole[image]['inputs'])
    assert not all(torch.equal(SeededImages(dataset, range(7), seed=6)[i]['inputs'], whole[i]['inputs']) for i in range(7))


def test_a_pass_over_chosen_images(runner):
    batches = list(Pass(runner, Needs(), student=True, images=[5, 0, 3]))
    assert [len(batch.target) for batch in batches] == [3]
