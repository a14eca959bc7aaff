"""The code and the commands of docs/add_classes.md, on a tiny data set."""
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from PIL import Image

from mmcss.models import load_hand_over, save_hand_over
from tests import command, processes
from tests.test_own_data import BLOCK, ROOT, THIN, folder, runner_of, write_pair  # noqa: F401  (a fixture)

PAGE = (ROOT / 'docs' / 'add_classes.md').read_text()
COMMANDS = [line for block in re.findall(r'^```bash\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()]
SMALL = ['run.rehearsal=False', 'train_dataloader.num_workers=0', 'test_dataloader.num_workers=0', 'train_dataloader.batch_size=2',
         'train_cfg.max_epochs=1', 'model.backbone.base_channels=8', 'model.backbone.stem_channels=8', 'model.decode_head.in_channels=64',
         'model.decode_head.channels=16']
OLD = ['background', 'quay', 'crane', 'ship', 'truck']


@pytest.fixture
def place(folder):  # noqa: F811
    """The folder of docs/own_data.md, with the page's config and its images of buoys."""
    for name, text in BLOCK.findall(PAGE):
        Path(name).write_text(text)
    for name in 'gh':
        write_pair(folder / 'data' / 'harbour_buoy', 'train', name, (0, 5))
    write_pair(folder / 'data' / 'harbour_buoy', 'val', 'i', (1, 2, 3, 4, 5))
    return folder


def train_stock(classes=OLD):
    """A model of stock MMSegmentation in work_dirs/stock."""
    cfg = Config.fromfile('configs/own/harbour.py')
    cfg.merge_from_dict(dict(model=THIN, train_dataloader=dict(num_workers=0, batch_size=2, dataset=dict(
        metainfo=dict(classes=classes), reduce_zero_label=classes is not OLD))))
    cfg.model.decode_head.num_classes = len(classes)
    keys = ('model', 'train_dataloader', 'optim_wrapper', 'default_scope')
    Runner(**{key: cfg[key] for key in keys}, work_dir='work_dirs/stock', log_level='WARNING', experiment_name='stock',
           train_cfg=dict(type='IterBasedTrainLoop', max_iters=1),
           default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1))).train()


def run(line, *options):
    """Run a command of the page; training with the options that make it small."""
    words = shlex.split(line)
    if words[0] == 'mmcss':
        assert command.call(*words[1:]) is None
        return ''
    assert words[:2] == ['python', 'tools/train.py']
    given = words.index('--cfg-options') if '--cfg-options' in words else len(words)
    done = processes.call(ROOT / words[1], *words[2:given], '--cfg-options', *words[given + 1:], *SMALL, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_from_stock_mmsegmentation_to_onnx(place):
    pytest.importorskip('onnxruntime', reason='needs mmcss[export]')
    train_stock()
    plan, train, predict, export, _ = COMMANDS
    shutil.rmtree('data/harbour')  # what it was trained on
    assert 'take' in run(plan) and not Path('work_dirs/own').exists()
    run(train)
    step = Path('work_dirs/own/harbour_buoy/step_1')
    assert load_hand_over(step / 'step_1.pth')['meta']['classes'] == [*OLD, 'buoy']
    stock = torch.load('work_dirs/stock/iter_1.pth', weights_only=False)['state_dict']
    taken = load_hand_over(step.parent / 'step_0' / 'step_0.pth')['state_dict']
    assert all(torch.equal(taken[name], tensor) for name, tensor in stock.items())
    run(predict)
    with Image.open(step / 'predictions' / 'labels' / 'i.png') as labels:
        assert labels.size == (60, 32) and np.asarray(labels).max() <= 5
    run(export)
    written = step / 'export' / 'step_1'
    assert written.with_suffix('.onnx').is_file() and 'mmcss' not in written.with_suffix('.py').read_text()
    model = init_model(str(written.with_suffix('.py')), str(written.with_suffix('.pth')), device='cpu')
    assert inference_model(model, 'data/harbour_buoy/images/val/i.jpg').seg_logits.data.shape == (6, 32, 60)


@pytest.mark.slow
def test_from_a_model_of_mmcss(place):
    config = runner_of('harbour').configs[2]  # not trained: what it knows does not matter here
    save_hand_over('work_dirs/own/harbour/step_2/step_2.pth', MODELS.build(config.model).tensors_to_hand_over(),
                   dict(classes=config.model.continual.split.old + config.model.continual.split.new))
    shutil.rmtree('data/harbour')
    run(COMMANDS[-1])
    classes = load_hand_over('work_dirs/own/harbour_buoy/step_1/step_1.pth')['meta']['classes']
    assert classes == ['background', 'ship', 'crane', 'truck', 'quay', 'buoy']
    assert not Path('work_dirs/own/harbour_buoy/step_0/vis_data').exists()  # it was not trained


@pytest.mark.slow
def test_from_a_stock_model_without_background(place):
    train_stock(OLD[1:])
    run(COMMANDS[1])
    stock = torch.load('work_dirs/stock/iter_1.pth', weights_only=False)['state_dict']['decode_head.conv_seg.weight']
    taken = load_hand_over('work_dirs/own/harbour_buoy/step_0/step_0.pth')
    rows = taken['state_dict']['decode_head.conv_seg.weight']
    assert taken['meta']['classes'] == OLD and torch.equal(rows, torch.cat((stock.mean(0, keepdim=True), stock)))
    assert Path('work_dirs/own/harbour_buoy/step_1/step_1.pth').is_file()
    run(f'{COMMANDS[1]} --dry-run --resume')  # knows the step 0 again
