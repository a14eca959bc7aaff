"""Whole scenarios on tiny data."""
import os
import shutil
import signal
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
from mmcss.models import load_hand_over
import tests.e2e.stop_hook  # noqa: F401  registers StopHook
from tests.tiny import CLASSES, MIB, tiny_config

ROOT = Path(__file__).resolve().parents[2]


def run(cfg, **options):
    cfg = cfg.copy()
    cfg.run = options
    return ContinualRunner.from_cfg(cfg).train()


def state(work_dir, step):
    return load_hand_over(Path(work_dir) / f'step_{step}' / f'step_{step}.pth')['state_dict']


def assert_equal_states(a, b):
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


@pytest.fixture(scope='module')
def plop_run(tiny_data, tmp_path_factory):
    """Three steps of PLOP in one process."""
    work_dir = tmp_path_factory.mktemp('plop')
    results = run(tiny_config(tiny_data, work_dir))
    return work_dir, results


def test_every_step_leaves_its_files(plop_run):
    work_dir, results = plop_run
    assert [step['step'] for step in results['steps']] == [0, 1, 2]
    assert read_json(work_dir / 'results.json') == results
    for step in range(3):
        folder = work_dir / f'step_{step}'
        split = read_json(folder / 'split.json')
        assert split['old'] + split['new'] == list(CLASSES[:3 + step])
        hand_over = torch.load(folder / f'step_{step}.pth', weights_only=True)
        assert hand_over['meta']['classes'] == list(CLASSES[:3 + step])
        assert hand_over['state_dict']['decode_head.conv_seg.weight'].shape[0] == 3 + step
        result = read_json(folder / 'result.json')
        assert result['classes'] == list(CLASSES[:3 + step])
        assert len(result['IoU']) == 3 + step
    assert (work_dir / 'step_1' / 'targets.npz').is_file()
    assert not (work_dir / 'step_0' / 'targets.npz').exists()
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


def stop(cfg, tmp_path, kill):
    """Run a config whose StopHook ends it."""
    if not kill:
        with pytest.raises(KeyboardInterrupt):
            run(cfg)
        return
    cfg.custom_imports = dict(imports=['mmcss', 'stop_hook'], allow_failed_imports=False)
    cfg.dump(tmp_path / 'config.py')
    paths = os.pathsep.join([str(ROOT / 'tests' / 'e2e'), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run([sys.executable, str(ROOT / 'tools' / 'train.py'), str(tmp_path / 'config.py')],
                          capture_output=True, env=dict(os.environ, PYTHONPATH=paths))
    assert done.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.parametrize('workers, kill', [(0, False), (2, True)])
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(tiny_data, tmp_path, workers, kill):
    scenario = dict(base=3, increment=1)
    run(tiny_config(tiny_data, tmp_path / 'whole', workers, scenario=scenario))
    stopped = tiny_config(tiny_data, tmp_path / 'stopped', workers, scenario=scenario)
    stopping = stopped.copy()
    stopping.custom_hooks = [dict(type='StopHook', step=1, iteration=3, kill=kill)]  # in the second epoch of step 1
    stop(stopping, tmp_path, kill)
    assert not (tmp_path / 'stopped' / 'step_1' / 'step_1.pth').exists()
    before = (tmp_path / 'stopped' / 'step_0' / 'step_0.pth').stat().st_mtime_ns
    stopped.resume = True
    run(stopped)
    assert (tmp_path / 'stopped' / 'step_0' / 'step_0.pth').stat().st_mtime_ns == before  # finished steps are kept
    for step in range(2):
        assert_equal_states(state(tmp_path / 'whole', step), state(tmp_path / 'stopped', step))
    assert read_json(tmp_path / 'whole' / 'results.json')['matrix'] == \
        read_json(tmp_path / 'stopped' / 'results.json')['matrix']


def test_a_moved_folder_resumes(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path / 'first')
    cfg.custom_hooks = [dict(type='StopHook', step=0, iteration=2)]
    with pytest.raises(KeyboardInterrupt):
        run(cfg)
    (tmp_path / 'first').rename(tmp_path / 'second')
    cfg = tiny_config(tiny_data, tmp_path / 'second', resume=True, log_level='INFO')
    assert len(run(cfg, steps='0')['steps']) == 1
    log = ''.join(path.read_text() for path in (tmp_path / 'second').glob('step_0/*/*.log'))
    assert 'resumed epoch: 1, iter: 2' in log


def test_resume_trains_what_stems_from_an_older_step(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, continual={}, scenario=dict(base=3, increment=1))
    run(cfg)
    marks = [load_hand_over(tmp_path / f'step_{k}' / f'step_{k}.pth')['meta'] for k in range(2)]
    assert [mark['parent'] for mark in marks] == [None, marks[0]['id']]
    run(cfg, steps='0')  # trained anew: what was made from the old one is stale
    assert len(read_json(tmp_path / 'results.json')['steps']) == 1
    cfg.resume = True
    assert len(run(cfg)['steps']) == 2
    again = [load_hand_over(tmp_path / f'step_{k}' / f'step_{k}.pth')['meta'] for k in range(2)]
    assert again[1]['id'] != marks[1]['id'] and again[1]['parent'] == again[0]['id']


def test_resume_after_the_end_does_nothing(plop_run, tiny_data, capsys):
    work_dir, results = plop_run
    cfg = tiny_config(tiny_data, work_dir, resume=True)
    before = {path: path.stat().st_mtime_ns for path in work_dir.rglob('step_*.pth')}
    assert run(cfg) == results
    assert {path: path.stat().st_mtime_ns for path in work_dir.rglob('step_*.pth')} == before
    assert capsys.readouterr().out.count('is finished; skipped') == 3


@pytest.mark.parametrize('change', [dict(scenario=dict(base=2, increment=1, class_order=[4, 3, 2, 1])),
                                    dict(scenario=dict(base=2, increment=1, regime='disjoint')), dict(continual=MIB)])
def test_resume_of_another_run_is_refused(plop_run, tiny_data, change):
    work_dir, _ = plop_run
    with pytest.raises(ValueError, match='was trained with another scenario or method'):
        run(tiny_config(tiny_data, work_dir, resume=True, **change))


def test_another_protocol_is_judged_anew(plop_run, tiny_data, tmp_path):
    work_dir, results = plop_run
    shutil.copytree(work_dir, tmp_path / 'copy')
    cfg = tiny_config(tiny_data, tmp_path / 'copy', resume=True, protocol=dict(background=False))
    again = run(cfg)
    assert again['protocol'] == dict(future='background', background=False, images='seen', absent='stock')
    assert (again['profile'], again['protocol_name'], results['protocol_name']) == ('paper', 'custom', 'default')
    assert results['protocol']['background'] is True
    assert all(value is None for value in again['matrix']['background'])
    assert state(work_dir, 2).keys() == state(tmp_path / 'copy', 2).keys()


def test_testing_again_gives_the_same_results(plop_run, tiny_data):
    work_dir, results = plop_run
    for step in range(3):
        (work_dir / f'step_{step}' / 'result.json').unlink()
    assert ContinualRunner.from_cfg(tiny_config(tiny_data, work_dir)).test() == results


def test_first_step_of_another_run(plop_run, tiny_data, tmp_path):
    work_dir, results = plop_run
    mib = run(tiny_config(tiny_data, tmp_path, continual=MIB), first_step_from=str(work_dir))
    assert_equal_states(state(work_dir, 0), state(tmp_path, 0))
    assert mib['steps'][0]['mIoU'] == results['steps'][0]['mIoU']
    assert len(mib['steps']) == 3


def test_later_steps_from_the_first_step_of_another_run(plop_run, tiny_data, tmp_path):
    work_dir, _ = plop_run
    results = run(tiny_config(tiny_data, tmp_path), steps='1', first_step_from=str(work_dir / 'step_0' / 'step_0.pth'))
    assert [step['step'] for step in results['steps']] == [0, 1]
    assert_equal_states(state(work_dir, 1), state(tmp_path, 1))


def test_its_own_first_step_is_refused(plop_run, tiny_data):
    work_dir, _ = plop_run
    with pytest.raises(ValueError, match='is this run itself'):
        run(tiny_config(tiny_data, work_dir), steps='0', first_step_from=str(work_dir))
    assert (work_dir / 'step_0' / 'step_0.pth').is_file()


def test_first_step_of_another_scenario_is_refused(plop_run, tiny_data, tmp_path):
    work_dir, _ = plop_run
    other = tiny_config(tiny_data, tmp_path, scenario=dict(type='ClassIncremental', base=3, increment=1))
    with pytest.raises(ValueError, match='of another scenario or step: it knows 3 classes'):
        run(other, first_step_from=str(work_dir))


def test_a_step_without_the_one_before_is_refused(tiny_data, tmp_path):
    with pytest.raises(FileNotFoundError, match='run the step that leaves it first'):
        run(tiny_config(tiny_data, tmp_path), steps='1')


def test_a_truncated_hand_over_is_refused(plop_run, tiny_data, tmp_path):
    work_dir, _ = plop_run
    whole = (work_dir / 'step_0' / 'step_0.pth').read_bytes()
    (tmp_path / 'step_0').mkdir()
    (tmp_path / 'step_0' / 'step_0.pth').write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match='truncated or of another kind'):
        run(tiny_config(tiny_data, tmp_path), steps='1')


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


def test_a_step_with_one_image_trains(tiny_data, tmp_path):
    """Fewer images than a batch: they are repeated to fill one."""
    cfg = tiny_config(tiny_data, tmp_path, scenario=dict(base=3, increment=1))
    lists = tmp_path / 'lists'
    lists.mkdir()
    labels = {path.stem: set(np.unique(Image.open(path)))
              for path in sorted((tiny_data / 'labels' / 'train').iterdir())}
    without = [name for name, values in labels.items() if 4 not in values]
    (lists / 'train.txt').write_text('\n'.join(without + [next(n for n, v in labels.items() if 4 in v)]))
    cfg.train_dataloader.dataset.ann_file = str(lists / 'train.txt')
    cfg.train_dataloader.drop_last = True
    assert len(run(cfg)['steps']) == 2


def launch(script, *arguments):
    environment = dict(os.environ, PYTHON=sys.executable, PORT='29617', OMP_NUM_THREADS='1')
    done = subprocess.run(['bash', str(ROOT / 'tools' / script), *map(str, arguments)], capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


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
    launch('dist_test.sh', tmp_path / 'config.py', 2, '--step', '0-1')
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
    done = subprocess.run([sys.executable, str(tools / 'test.py'), str(step / 'config.py'), str(step / 'epoch_3.pth'),
                           '--cfg-options', 'log_level=INFO'], check=True, capture_output=True, text=True)
    assert 'mIoU_old' in done.stdout
