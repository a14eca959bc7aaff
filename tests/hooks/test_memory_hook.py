import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from PIL import Image

from mmcss.engine.isolation import tear_down
from mmcss.hooks import HandOverHook, MemoryHook
from mmcss.hooks.data_pass import Pass, bare_model
from mmcss.memory import POLICIES, Memory
from mmcss.memory.policies.feature_based import Herding
from mmcss.parts import Needs
from mmcss.session import training as training_module
from tests.hooks.runners import hook_of, runner_of
from tests.tiny import loader, tiny_config

# What the images of the tiny data set hold, and those that a step brings (two classes, then one).
HOLDS = {f'{i:03d}.png': {('red', 'green', 'blue', 'white')[k] for k in (i % 4, (i // 2 + 2) % 4)} for i in range(12)}
BRINGS = [[name for name in HOLDS if HOLDS[name] & classes] for classes in ({'red', 'green'}, {'blue'})]
METHOD = dict(memory=dict(size=4, policy='class_balanced'))


def build(tiny_data, work_dir, step, batch_size=4):
    return runner_of(tiny_config(tiny_data, work_dir, continual=METHOD,
                                 train_dataloader=dict(loader(tiny_data, 'train'), batch_size=batch_size)), step)


def choose(runner, path, **options):
    """What a hook would remember."""
    MemoryHook(path=str(path), **dict(dict(policy='class_balanced', export=False), **options)).finish_step(runner)
    return Memory.load(path)


def names(memory):
    return [one.name for one in memory.exemplars]


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    return tmp_path_factory.mktemp('memory')


@pytest.fixture(scope='module')
def first(tiny_data, work_dir):
    """Step 0, at its end."""
    runner = build(tiny_data, work_dir, 0)
    runner.model.init_weights()
    hook_of(runner, MemoryHook).after_train(runner)
    hook_of(runner, HandOverHook).after_train(runner)
    yield runner
    tear_down(runner)


@pytest.fixture(scope='module')
def second(tiny_data, work_dir, first):
    """Step 1, at its end."""
    runner = build(tiny_data, work_dir, 1)
    runner.model.init_weights()
    hook_of(runner, MemoryHook).after_train(runner)
    yield runner
    tear_down(runner)


def test_the_memory_of_the_first_step(first, work_dir):
    memory = Memory.load(work_dir / 'step_0' / 'memory.json')
    assert len(set(names(memory))) == 4 and set(names(memory)) <= set(BRINGS[0])
    for one in memory.exemplars:
        assert set(one.holds) == HOLDS[one.name] & {'red', 'green'} and one.labelled == ('red', 'green')
        assert (one.leaf, one.image, one.labels, one.saliency) == (0, None, None, None)
    for c in ('red', 'green'):
        assert sum(c in one.holds for one in memory.exemplars) >= 2
    assert memory.images_seen == len(BRINGS[0]) == 8
    assert memory.classes_seen == dict(red=4, green=5)


def test_the_memory_of_the_next_step(second, work_dir):
    """An image of both steps has the labels of both; one that was remembered is not seen again."""
    before, memory = (Memory.load(work_dir / f'step_{step}' / 'memory.json') for step in (0, 1))
    again = set(names(before)) & set(BRINGS[1])
    assert again and len(set(names(memory))) == 4 and set(names(memory)) <= {*names(before), *BRINGS[1]}
    for one in memory.exemplars:
        labelled = [c for c, brought in (('red', names(before)), ('green', names(before)), ('blue', BRINGS[1]))
                    if one.name in brought]
        assert list(one.labelled) == labelled and set(one.holds) == HOLDS[one.name] & set(labelled)
    assert memory.images_seen == 8 + len(set(BRINGS[1]) - again)
    assert {c: memory.classes_seen[c] for c in ('red', 'green')} == dict(red=4, green=5)


def test_classes_are_counted_in_images_that_were_remembered_too(second, work_dir):
    """They are among those that show a new class: the stream of it has seven images."""
    assert Memory.load(work_dir / 'step_1' / 'memory.json').classes_seen['blue'] == len(BRINGS[1]) == 7


@pytest.mark.parametrize('policy', POLICIES.members())
@pytest.mark.parametrize('step', [0, 1])
def test_every_policy_chooses_the_same_when_asked_again(first, second, tmp_path, policy, step):
    runner = (first, second)[step]
    found = choose(runner, tmp_path / 'a.json', size=3, policy=policy)
    assert len(set(names(found))) == 3
    choose(runner, tmp_path / 'b.json', size=3, policy=policy)
    assert (tmp_path / 'a.json').read_text() == (tmp_path / 'b.json').read_text()


@pytest.mark.filterwarnings('ignore:.*instance named of run_step_0 has been created')  # two runners of one step
@pytest.mark.parametrize('policy', ['herding', 'confident'])
def test_a_choice_by_features_does_not_depend_on_batches(tiny_data, first, work_dir, tmp_path, policy):
    single = build(tiny_data, tmp_path, 0, batch_size=1)
    single.model.load_state_dict(first.model.state_dict())
    found = [choose(runner, tmp_path / 'memory.json', size=5, policy=policy) for runner in (first, single)]
    tear_down(single)
    assert found[0] == found[1] and len(found[0].exemplars) == 5


@pytest.fixture
def candidates(monkeypatch):
    """Returns a function that gives what a policy with features is shown."""
    shown = []
    monkeypatch.setattr(Herding, 'select', lambda self, pool, size, random: shown.append(pool) or [])

    def show(runner, path):
        choose(runner, path, size=3, policy='herding')
        return shown.pop()

    return show


@pytest.mark.parametrize('step', [0, 1])
def test_features_are_means_over_the_pixels_of_a_class(first, second, tmp_path, candidates, step):
    """Found by hand for each candidate and class; an image of both steps shows what either labels."""
    runner = (first, second)[step]
    found, dataset = candidates(runner, tmp_path / 'memory.json'), runner.train_dataloader.dataset
    infos = [dataset.get_data_info(i) for i in range(len(dataset) + dataset.num_memory)]
    numbers = {}
    for number, info in enumerate(infos):
        numbers.setdefault(Path(info['img_path']).name, []).append(number)
    order = list(dict.fromkeys(Path(info['img_path']).name for info in infos[len(dataset):] + infos[:len(dataset)]))
    sums = {}
    for number in range(len(infos)):
        for batch in Pass(runner, Needs(embedding=True), student=True, images=[number]):
            features = F.interpolate(batch.student.embedding, (32, 32), mode='bilinear')[0]
            for c in range(1, dataset.split.num_seen):
                sums[number, c] = features[:, batch.raw_target[0] == c].sum(dim=1)
    for c in range(1, dataset.split.num_seen):
        members = [name for name, holds in zip(order, found.holds[:, c - 1]) if holds]
        expected = [F.normalize(sum(sums[i, c] for i in numbers[name]), dim=0) for name in members]
        assert len(members) >= 2
        np.testing.assert_allclose(found.class_features[c - 1], torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert found.stored == dataset.num_memory == (4 if step else 0)
    assert len(found.certainty) == len(order) and len(set(found.certainty.tolist())) > 1


def test_a_choice_by_features_after_mixed_precision(first, tmp_path, candidates, monkeypatch):
    """Autocast gives features of low precision, and ends with the forward pass."""
    exact = candidates(first, tmp_path / 'memory.json')
    # The wrapper itself takes GPUs alone.
    monkeypatch.setattr(training_module, 'AmpOptimWrapper', OptimWrapper)
    monkeypatch.setattr(OptimWrapper, 'cast_dtype', None, raising=False)
    monkeypatch.setattr(first, 'optim_wrapper', first.build_optim_wrapper(first.optim_wrapper))
    batch = next(iter(Pass(first, Needs(embedding=True), student=True)))
    assert batch.student.embedding.dtype == torch.bfloat16
    found = candidates(first, tmp_path / 'memory.json')
    for a, b in zip(found.class_features, exact.class_features):
        np.testing.assert_allclose(a, b, atol=.05)
    np.testing.assert_allclose(found.certainty, exact.certainty, atol=1e-3)


@pytest.mark.parametrize('policy', POLICIES.members())
def test_a_memory_of_no_image(first, tmp_path, policy):
    memory = choose(first, tmp_path / 'memory.json', size=0, policy=policy)
    assert (memory.exemplars, memory.images_seen) == ([], 8)


def test_nothing_remembered_is_nothing_replayed(tiny_data, first, tmp_path):
    choose(first, tmp_path / 'step_0' / 'memory.json', size=0)
    runner = build(tiny_data, tmp_path, 1)
    batches = [len(data['inputs']) for data in runner.train_dataloader]
    tear_down(runner)
    assert batches == [4, 3]


@pytest.mark.parametrize('size', [0, 2, 3])
def test_few_images(second, tmp_path, size):
    """Also fewer than there are classes."""
    assert len(choose(second, tmp_path / 'memory.json', size=size).exemplars) == size


def test_a_memory_larger_than_the_data_holds_all_of_it(second, tmp_path):
    before = names(second.train_dataloader.dataset.memory)
    assert set(names(choose(second, tmp_path / 'memory.json', size=99))) == {*before, *BRINGS[1]}


def test_copies_of_images_and_labels(tiny_data, first, tmp_path):
    """In learning order; the next step loads them."""
    folder = tmp_path / 'step_0'
    memory = choose(first, folder / 'memory.json', size=3, export=True)
    plain = choose(first, tmp_path / 'memory.json', size=3)
    assert names(memory) == names(plain) and all(one.image is None for one in plain.exemplars)
    for one in memory.exemplars:
        assert (folder / one.image).read_bytes() == (tiny_data / 'images' / 'train' / one.name).read_bytes()
        raw = np.array(Image.open(tiny_data / 'labels' / 'train' / one.name))
        expected = np.where((raw > 2) & (raw < 255), 0, raw)  # blue and white are to come
        np.testing.assert_array_equal(np.array(Image.open(folder / one.labels)), expected)
    assert {path.name for path in (folder / 'memory' / 'images').iterdir()} == {'00000.png', '00001.png', '00002.png'}
    runner = build(tiny_data, tmp_path, 1)
    dataset = runner.train_dataloader.dataset
    shown = [np.unique(dataset[len(dataset) + i]['data_samples'].gt_sem_seg.data).tolist() for i in range(3)]
    tear_down(runner)
    # Blue, which step 1 brings, is labelled as well where an image has it; white is still to come.
    raw = [np.unique(Image.open(tiny_data / 'labels' / 'train' / one.name)) for one in memory.exemplars]
    assert shown == [[value for value in values if value != 4] for values in raw] and any(3 in values for values in raw)


def test_the_file_is_plain_json(first, tmp_path):
    choose(first, tmp_path / 'memory.json', size=3)
    values = json.loads((tmp_path / 'memory.json').read_text())
    assert set(values) == {'exemplars', 'images_seen', 'classes_seen', 'confidence', 'data_sets'} and len(values['exemplars']) == 3
    assert [path.name for path in tmp_path.iterdir()] == ['memory.json']


def test_the_model_is_left_as_it_was(first, tmp_path):
    model = bare_model(first).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    choose(first, tmp_path / 'memory.json', size=3, policy='confident')
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_hook_comes_after_the_parts_and_before_the_hand_over(first):
    order = [type(hook).__name__ for hook in first.hooks]
    assert order.index('ContinualHook') < order.index('MemoryHook') < order.index('HandOverHook')
