"""Steps whose images come once: online EM and what it is compared with, from their own configs."""
import os
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmseg.apis import inference_model, init_model

import tests.e2e.stop_hook  # noqa: F401  registers StopHook
from mmcss.datasets import StepDataset
from mmcss.engine import build_scenario, step_config
from mmcss.files import read_json
from mmcss.memory import Memory, StreamBatchSampler
from mmcss.scenario import TrainView
from tests.e2e.running import assert_equal_states, run, state, together
from tests.e2e.test_methods import METHODS, losses
from tests.experiments import experiment
from tests.tiny import make_data, tiny_config

ONLINE = dict(train_cfg=dict(max_epochs=1), train_dataloader=dict(batch_size=2), param_scheduler=[],
              optim_wrapper=dict(optimizer=dict(lr=0.01)))
SIZE = 5


def config(data, work_dir, method, base=3, **changes):
    """A method's own config with a small memory."""
    cfg = tiny_config(data, work_dir, continual={}, scenario=dict(base=base, increment=1), next_steps=ONLINE, **changes)
    cfg.merge_from_dict(Config.fromfile(METHODS / f'{method}.py')._cfg_dict.to_dict())
    cfg.train_cfg.max_epochs = 1
    cfg.continual.memory.size = SIZE
    cfg.continual.online.images = 2
    if method == 'mir':
        cfg.continual.online.candidates = 4
    return cfg


def memory(work_dir, step):
    return Memory.load(Path(work_dir) / f'step_{step}' / 'memory.json')


@pytest.fixture
def counted(monkeypatch):
    """How often each new image is read, and the updates, in batches that the learning rate does not schedule."""
    read, updates = Counter(), []
    prepare, step = StepDataset._prepare, OptimWrapper.step

    def counting_prepare(dataset, idx):
        if isinstance(dataset.view, TrainView) and idx < len(dataset):
            read[dataset.get_data_info(idx)['img_path']] += 1
        return prepare(dataset, idx)

    def counting_step(wrapper, **options):
        updates.append(wrapper.get_lr()['lr'][0])
        step(wrapper, **options)

    monkeypatch.setattr(StepDataset, '_prepare', counting_prepare)
    monkeypatch.setattr(OptimWrapper, 'step', counting_step)
    return read, updates


ONLINE_METHODS = ('er', 'a_gem', 'mir', 'online_em', 'mib_online', 'lwf_mc_online', 'icarl', 'coriseg')


@pytest.mark.parametrize('scenario', ['voc_15-1', 'ade_100-50', 'cityscapes_14-1', 'camvid11_6-1', 'msrc21_15-1', 'shapes8_5-1'])
@pytest.mark.parametrize('method', ONLINE_METHODS)
def test_the_experiments_that_ship_show_each_image_once(method, scenario):
    """The sampler of the last step builds, with whole batches of four new images; step 0 is trained as ever."""
    cfg = experiment(method, scenario)
    scenario = build_scenario(cfg)
    first, last = (step_config(cfg, scenario, step) for step in (0, len(scenario) - 1))
    assert first.train_cfg.max_epochs > 1 and 'batch_sampler' not in first.train_dataloader and first.param_scheduler
    assert (last.train_cfg.max_epochs, last.param_scheduler, last.train_dataloader.batch_size) == (1, [], 4)
    sampler = dict(last.train_dataloader.batch_sampler)
    assert sampler.pop('type') == 'StreamBatchSampler'
    images = SimpleNamespace(dataset=range(9), seed=0)
    assert [len(batch) for batch in StreamBatchSampler(images, 4, **sampler)] == [3, 3, 3]
    hook = next(hook for hook in last.custom_hooks if hook.type == 'MemoryHook')
    assert (hook.size, hook.replay.images) == (100, 4)


CE = {'decode.loss_ce'}


@pytest.mark.slow
@pytest.mark.parametrize('method, first, told', [
    ('er', CE, CE), ('a_gem', CE, CE), ('mir', CE, CE),
    ('online_em', CE, {'decode.loss_composite'}),
    ('mib_online', CE, {'decode.loss_unce', 'loss_unkd'}),
    ('lwf_mc_online', {'decode.loss_bce'}, {'decode.loss_bce', 'loss_bce_kd'}),
    ('icarl', {'decode.loss_bce'}, {'decode.loss_bce', 'loss_bce_kd'}),
    ('coriseg', CE, {'decode.loss_ce', 'loss_kd'}),
])
def test_a_scenario(tiny_data, tmp_path, counted, method, first, told):
    """Each new image is read once, and each batch of them is one update at the same learning rate."""
    read, updates = counted
    cfg = config(tiny_data, tmp_path, method)
    run(cfg, steps='0')
    read.clear()
    updates.clear()
    results = run(cfg, steps='1')
    white = {f'{i:03d}.png' for i in range(12) if 4 in (1 + i % 4, 1 + (i // 2 + 2) % 4)}
    assert {Path(path).name: times for path, times in read.items()} == dict.fromkeys(white, 1) and len(white) > 4
    assert updates == [.01] * -(-len(white) // 2)
    assert [step['step'] for step in results['steps']] == [0, 1]
    assert losses(tmp_path, 0) == first | {'loss'} and losses(tmp_path, 1) == told | {'loss'}
    before, after = memory(tmp_path, 0), memory(tmp_path, 1)
    assert len(before.exemplars) == SIZE and len({one.name for one in after.exemplars}) == SIZE
    again = {one.name for one in before.exemplars} & white  # that are stored, if they have not been replaced when they come
    assert len(white - again) <= after.images_seen - before.images_seen <= len(white) and after.classes_seen['white'] == len(white)
    assert bool(after.confidence) == (method == 'online_em')
    for step in (0, 1):
        assert all(value.isfinite().all() for value in state(tmp_path, step).values() if value.is_floating_point())


@pytest.fixture(scope='module')
def em_run(tiny_data, tmp_path_factory):
    """Three steps of online EM in one process."""
    work_dir = tmp_path_factory.mktemp('online_em')
    run(config(tiny_data, work_dir, 'online_em', base=2))
    return work_dir


def assert_equal_runs(one, other):
    for step in range(3):
        assert_equal_states(state(one, step), state(other, step))
        assert memory(one, step) == memory(other, step)


def test_memory_and_confidence_go_on(em_run):
    """A class keeps its confidence; each step counts its images on."""
    for step, known in enumerate((2, 3, 4)):
        found = memory(em_run, step)
        assert list(found.classes_seen) == ['red', 'green', 'blue', 'white'][:known]
        assert list(found.confidence) == ([] if step == 0 else ['red', 'green', 'blue', 'white'][:known])
        assert all(0 <= value < 1 for value in found.confidence.values())
    assert memory(em_run, 0).images_seen < memory(em_run, 1).images_seen < memory(em_run, 2).images_seen
    assert {name for one in memory(em_run, 2).exemplars for name in one.holds} >= {'blue', 'white'}


@pytest.mark.slow
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(em_run, tiny_data, tmp_path):
    cfg = config(tiny_data, tmp_path, 'online_em', base=2)
    stopping = cfg.copy()
    stopping.custom_hooks = [dict(type='StopHook', step=1, iteration=2)]
    with pytest.raises(KeyboardInterrupt):
        run(stopping)
    assert not (tmp_path / 'step_1' / 'memory.json').exists()
    cfg.resume = True
    run(cfg)
    assert_equal_runs(tmp_path, em_run)


@pytest.mark.slow
def test_a_run_that_was_stopped_behind_its_checkpoint_finds_its_memory(em_run, tiny_data, tmp_path):
    shutil.copytree(em_run, tmp_path / 'run')
    for path in ('step_1/step_1.pth', 'step_1/result.json', 'step_2'):
        (shutil.rmtree if path == 'step_2' else os.remove)(tmp_path / 'run' / path)
    run(config(tiny_data, tmp_path / 'run', 'online_em', base=2, resume=True))
    assert_equal_runs(tmp_path / 'run', em_run)


@pytest.mark.slow
def test_loader_processes_make_no_difference_to_what_is_drawn(tiny_data, em_run, tmp_path):
    """Which images are replayed depends on the batches before, so that the main process loads them."""
    found = []
    for name in ('a', 'b'):
        run(config(tiny_data, tmp_path / name, 'online_em', base=3, workers=2))
        found.append(memory(tmp_path / name, 1))
    assert found[0] == found[1]
    assert_equal_states(state(tmp_path / 'a', 1), state(tmp_path / 'b', 1))


@pytest.mark.parametrize('method', ['online_em', 'mir'])
def test_two_processes(tiny_data, tmp_path, method):
    """Both keep the same memory; together they train on each new image once; a run is deterministic."""
    for name in ('one', 'same'):
        cfg = config(tiny_data, tmp_path / name, method)
        cfg.custom_imports = dict(imports=['mmcss', 'tests.e2e.memory_hook'], allow_failed_imports=False)
        cfg.custom_hooks = [dict(type='WriteMemoryHook')]
        cfg.dump(tmp_path / f'{name}.py')
        together('train.py', tmp_path / f'{name}.py')
    first, second = (read_json(tmp_path / 'one' / 'step_1' / f'memory_of_{rank}.json') for rank in range(2))
    for key in ('kept', 'images_seen', 'seen', 'confidence'):
        assert first[key] == second[key]
    assert sorted(first['trained'] + second['trained']) == list(range(first['images']))
    assert first['loaded'] > len(first['trained']) and second['loaded'] > len(second['trained'])
    found = memory(tmp_path / 'one', 1)
    assert [one.name for one in found.exemplars] == first['kept'] and len(first['kept']) == SIZE
    assert found == memory(tmp_path / 'same', 1)
    assert_equal_states(state(tmp_path / 'one', 1), state(tmp_path / 'same', 1))


def test_a_step_of_one_image_in_two_processes(tmp_path):
    """Both train on it; it counts, and is stored, once."""
    data = make_data(tmp_path / 'data')
    for i in range(12):
        if i != 7 and 4 in (1 + i % 4, 1 + (i // 2 + 2) % 4):
            (data / 'images' / 'train' / f'{i:03d}.png').unlink()
            (data / 'labels' / 'train' / f'{i:03d}.png').unlink()
    cfg = config(data, tmp_path / 'run', 'er')
    cfg.dump(tmp_path / 'config.py')
    together('train.py', tmp_path / 'config.py')
    before, after = (memory(tmp_path / 'run', step) for step in (0, 1))
    again = '007.png' in {one.name for one in before.exemplars}
    assert after.images_seen == before.images_seen + (not again) and after.classes_seen['white'] == 1
    assert len({one.name for one in after.exemplars}) == len(after.exemplars)


@pytest.mark.slow
@pytest.mark.parametrize('method', ['online_em', 'icarl'])
def test_the_deploy_config_predicts_the_same(tiny_data, tmp_path, method):
    run(config(tiny_data, tmp_path, method))
    folder = tmp_path / 'step_1'
    deployed = init_model(str(folder / 'deploy.py'), str(folder / 'step_1.pth'), device='cpu')
    assert type(deployed).__name__ == 'ExtendedEncoderDecoder'
    assert Config.fromfile(folder / 'deploy.py').custom_imports.imports == ['mmcss']
    ours = init_model(next(str(path) for path in folder.glob('*.py') if path.name != 'deploy.py'),
                      str(folder / 'step_1.pth'), device='cpu')
    assert type(ours).__name__ == 'ContinualEncoderDecoder'
    ours.cfg = deployed.cfg
    image = str(sorted((tiny_data / 'images' / 'val').iterdir())[0])
    predictions = [inference_model(model, image).seg_logits.data for model in (deployed, ours)]
    assert torch.equal(*predictions)
    most = predictions[0].abs().max()
    assert 1e-3 < most <= {'online_em': 12., 'icarl': 1.}[method] * 1.001
    if method == 'icarl':  # by means, each of length 1; as many as classes are remembered
        means = deployed.decode_head.conv_seg.means[:, :, 0, 0]
        lengths = means.norm(dim=1)
        assert lengths[0].item() == pytest.approx(1, rel=1e-4)
        remembered = {name for one in memory(tmp_path, 1).exemplars for name in one.holds}
        assert ((lengths > .5).sum() - 1).item() == len(remembered)


@pytest.mark.parametrize('change, message', [
    (dict(next_steps=dict(train_cfg=dict(max_epochs=2))), 'continual.online: each image is trained on once, but next_steps'),
    (dict(next_steps=dict(train_dataloader=dict(batch_sampler=dict(type='AspectRatioBatchSampler')))),
     'train_dataloader.batch_sampler: continual.online has its own'),
    (dict(continual=dict(memory=None)), 'continual.online: got a replay without a memory; set continual.memory'),
    (dict(continual=dict(memory=dict(share=.5))), r"continual.memory: got \['share'\], which have no effect in online steps"),
    (dict(continual=dict(memory=dict(iterations='kept'))), r"continual.memory: got \['iterations'\], which have no effect"),
    (dict(continual=dict(online=dict(type='BestReplay'))),
     "continual.online.type: got 'BestReplay', which is not registered.*; valid are UniformReplay, DynamicReplay, "),
    (dict(continual=dict(online=True)), 'continual.online: got True, expected a dict'),
    (dict(continual=dict(online=dict(etas=3))), r"continual.online.etas: there is no such setting, did you mean 'eta'\?"),
    (dict(continual=dict(online=dict(images=0))), 'continual.online.images: got 0, expected a number greater than or equal to 1'),
])
def test_settings_that_don_t_go(tiny_data, tmp_path, change, message):
    """They are refused before anything is trained."""
    cfg = config(tiny_data, tmp_path, 'online_em')
    cfg.merge_from_dict(change)
    with pytest.raises(ValueError, match=message):
        run(cfg)
    assert not list(tmp_path.rglob('*.pth'))


def test_images_are_not_left_out(tiny_data, tmp_path):
    cfg = config(tiny_data, tmp_path, 'online_em')
    cfg.merge_from_dict(dict(next_steps=dict(train_dataloader=dict(drop_last=True))))
    with pytest.raises(ValueError, match='train_dataloader.drop_last: online steps train on each'):
        run(cfg)
    assert not list(tmp_path.rglob('*.pth'))


def test_a_checkpoint_in_the_middle_of_a_stream_is_refused(tiny_data, tmp_path):
    cfg = config(tiny_data, tmp_path, 'online_em')
    cfg.default_hooks.checkpoint.by_epoch = False
    with pytest.raises(ValueError, match='default_hooks.checkpoint.by_epoch: .* an online step'):
        run(cfg)


def test_a_composite_loss_and_an_unknown_class_are_refused(tiny_data, tmp_path):
    cfg = config(tiny_data, tmp_path, 'online_em')
    cfg.continual.unknown = dict(of='background')
    with pytest.raises(ValueError, match=r'continual.unknown: .*CompositeLoss.* can not handle'):
        run(cfg)
