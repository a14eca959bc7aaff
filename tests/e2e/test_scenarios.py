"""Whole scenarios on tiny data."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.apis import inference_model, init_model
from PIL import Image

from mmcss.engine import ContinualRunner
from mmcss.files import read_json
from tests.e2e.running import ROOT, assert_equal_states, launch, run, state, together
from tests.tiny import CLASSES, MIB, PLOP, REMINDER_M, SSUL_M, tiny_config


def test_every_step_leaves_its_files(plop_run):
    work_dir, results = plop_run
    assert [step['step'] for step in results['steps']] == [0, 1, 2]
    assert read_json(work_dir / 'results.json') == results
    for step in range(3):
        folder = work_dir / f'step_{step}'
        split = read_json(folder / 'step.json')
        assert split['old'] + split['new'] == list(CLASSES[:3 + step])
        hand_over = torch.load(folder / f'step_{step}.pth', weights_only=True)
        assert hand_over['meta']['classes'] == list(CLASSES[:3 + step])
        assert hand_over['state_dict']['decode_head.conv_seg.weight'].shape[0] == 3 + step
        result = read_json(folder / 'result.json')
        assert result['classes'] == list(CLASSES[:3 + step])
        assert len(result['IoU']) == 3 + step
    assert (work_dir / 'step_1' / 'parts' / 'targets.npz').is_file()
    assert not (work_dir / 'step_0' / 'parts' / 'targets.npz').exists()
    assert not list(work_dir.rglob('*.partial*'))


def test_logs_of_a_step_lie_in_its_folder(plop_run):
    work_dir, _ = plop_run
    for step in range(3):
        scalars = list((work_dir / f'step_{step}').glob('*/vis_data/scalars.json'))
        assert len(scalars) == 1 and 'loss' in scalars[0].read_text()


@pytest.mark.stack
def test_stock_mmsegmentation_loads_a_step_and_predicts_the_same(plop_run, tiny_data):
    work_dir, _ = plop_run
    folder = work_dir / 'step_2'
    stock = init_model(str(folder / 'deploy.py'), str(folder / 'step_2.pth'), device='cpu')
    assert type(stock).__name__ == 'EncoderDecoder'
    assert stock.num_classes == 5
    assert stock.dataset_meta['classes'] == CLASSES
    image = sorted((tiny_data / 'images' / 'val').iterdir())[0]
    ours = init_model(next(path for path in map(str, folder.glob('*.py')) if 'deploy' not in path),
                      str(folder / 'step_2.pth'), device='cpu')
    assert type(ours).__name__ == 'ContinualEncoderDecoder'
    ours.cfg = stock.cfg
    predictions = [inference_model(model, str(image)) for model in (stock, ours)]
    assert torch.equal(predictions[0].seg_logits.data, predictions[1].seg_logits.data)


@pytest.mark.stack
def test_the_deploy_config_needs_no_mmcss(plop_run):
    work_dir, _ = plop_run
    script = ('import sys; from mmseg.apis import init_model; '
              f'init_model({str(work_dir / "step_1" / "deploy.py")!r}, {str(work_dir / "step_1" / "step_1.pth")!r}, '
              "device='cpu'); assert 'mmcss' not in sys.modules")
    subprocess.run([sys.executable, '-c', script], check=True, cwd=work_dir)


@pytest.mark.slow
def test_a_step_after_another_equals_the_step_alone(plop_run, tiny_data, tmp_path):
    """Step 1 in a fresh process, from step 0's hand-over."""
    work_dir, _ = plop_run
    cfg = tiny_config(tiny_data, tmp_path / 'alone')
    (tmp_path / 'alone' / 'step_0').mkdir(parents=True)
    source = work_dir / 'step_0' / 'step_0.pth'
    (tmp_path / 'alone' / 'step_0' / 'step_0.pth').write_bytes(source.read_bytes())
    cfg.dump(tmp_path / 'config.py')
    subprocess.run([sys.executable, str(ROOT / 'tools' / 'train.py'), str(tmp_path / 'config.py'), '--step', '1'],
                   check=True, capture_output=True)
    assert_equal_states(state(work_dir, 1), state(tmp_path / 'alone', 1))


def test_joint_training_reports_the_groups_of_the_steps(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, continual={}, scenario=dict(base=2, increment=1, joint=True))
    results = run(cfg)
    assert len(results['steps']) == 1
    assert results['steps'][0].keys() >= {'mIoU_old', 'mIoU_new', 'mIoU'}
    assert results['average'] == results['steps'][0]['mIoU']


@pytest.mark.parametrize('regime', ['disjoint', 'sequential'])
def test_other_regimes_run(tiny_data, tmp_path, regime):
    cfg = tiny_config(tiny_data, tmp_path, continual=MIB, scenario=dict(base=3, increment=1, regime=regime))
    assert len(run(cfg)['steps']) == 2


def test_averaged_weights_are_handed_over(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, custom_hooks=[dict(type='EMAHook', momentum=0.5)],
                      scenario=dict(base=3, increment=1))
    assert len(run(cfg)['steps']) == 2
    checkpoint = torch.load(tmp_path / 'step_1' / 'epoch_3.pth', weights_only=False)
    # mmengine saves the average as the state dict and the raw weights beside it.
    handed = state(tmp_path, 1)
    weight = 'decode_head.conv_seg.weight'
    assert torch.equal(handed[weight], checkpoint['state_dict'][weight])
    assert not torch.equal(handed[weight], checkpoint['ema_state_dict'][f'module.{weight}'])
    assert not any('teacher' in name for name in checkpoint['state_dict'])
    # What was judged in the run is what was handed over.
    results = read_json(tmp_path / 'results.json')
    cfg.custom_hooks = []
    assert ContinualRunner.from_cfg(cfg).test()['matrix'] == results['matrix']


def test_the_driver_takes_iterations_too(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, train_cfg=dict(type='IterBasedTrainLoop', max_iters=4),
                      scenario=dict(base=3, increment=1),
                      param_scheduler=[dict(type='PolyLR', power=0.9, by_epoch=False)])
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=2)
    assert len(run(cfg)['steps']) == 2


@pytest.mark.parametrize('method', [PLOP, SSUL_M, REMINDER_M], ids=['plop', 'ssul_m', 'reminder_m'])
def test_a_step_with_one_image_trains(tiny_data, tmp_path, method):
    """Fewer images than a batch: they are repeated to fill one."""
    cfg = tiny_config(tiny_data, tmp_path, scenario=dict(base=3, increment=1), continual=method)
    lists = tmp_path / 'lists'
    lists.mkdir()
    labels = {path.stem: set(np.unique(Image.open(path)))
              for path in sorted((tiny_data / 'labels' / 'train').iterdir())}
    without = [name for name, values in labels.items() if 4 not in values]
    (lists / 'train.txt').write_text('\n'.join(without + [next(n for n, v in labels.items() if 4 in v)]))
    cfg.train_dataloader.dataset.ann_file = str(lists / 'train.txt')
    cfg.train_dataloader.drop_last = True
    assert len(run(cfg)['steps']) == 2


@pytest.mark.slow
def test_two_processes_without_a_gpu(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path / 'two', scenario=dict(base=3, increment=1))
    cfg.dump(tmp_path / 'config.py')
    said = launch('dist_train.sh', tmp_path / 'config.py', 2)
    assert said.count('step 1 took') == 1  # one process speaks
    results = read_json(tmp_path / 'two' / 'results.json')
    assert len(results['steps']) == 2
    # Judged again by two processes and by one, the hand-overs give the same results.
    (tmp_path / 'two' / 'results.json').unlink()
    together('test.py', tmp_path / 'config.py', '--step', '0-1')
    assert read_json(tmp_path / 'two' / 'results.json') == results
    assert ContinualRunner.from_cfg(cfg).test() == results


@pytest.mark.slow
def test_stock_tools_run_a_scenario(tiny_data, tmp_path):
    import mmseg
    cfg = tiny_config(tiny_data, tmp_path / 'stock', scenario=dict(base=3, increment=1))
    cfg.dump(tmp_path / 'config.py')
    tools = Path(mmseg.__file__).parent / '.mim' / 'tools'
    if not tools.is_dir():
        pytest.skip('this MMSegmentation was installed without its tools')
    subprocess.run([sys.executable, str(tools / 'train.py'), str(tmp_path / 'config.py')], check=True,
                   capture_output=True)
    assert len(read_json(tmp_path / 'stock' / 'results.json')['steps']) == 2
    step = tmp_path / 'stock' / 'step_1'
    # The hand-over: the originals can't read the checkpoints that they write themselves with a current torch.
    done = subprocess.run([sys.executable, str(tools / 'test.py'), str(step / 'config.py'), str(step / 'step_1.pth'),
                           '--cfg-options', 'log_level=INFO'], check=True, capture_output=True, text=True)
    assert 'mIoU_old' in done.stdout
