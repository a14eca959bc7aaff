"""The example of docs/api.md, and a config that does the same."""
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.runner import set_random_seed
from mmseg.models import EncoderDecoder
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import RandomSampler

from mmcss.engine import ContinualRunner
from mmcss.losses import LocalPOD
from mmcss.models import EntropyPseudoLabels, Method, load_hand_over
from mmcss.session import StepSession
from mmcss.session.part_states import load_state
from tests.tiny import PLOP, tiny_config

PAGE = Path(__file__).parents[2] / 'docs' / 'api.md'


@DATA_SAMPLERS.register_module()
class Shuffled(RandomSampler):
    """What ``shuffle=True`` is to a loader."""

    def __init__(self, dataset, seed):
        super().__init__(dataset)


@pytest.fixture(scope='module')
def code():
    blocks = re.findall(r'```python\n(.*?)```', PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 1
    return blocks[0]


@pytest.fixture(scope='module')
def namespace(code, tiny_data, tmp_path_factory):
    """What the example leaves, run in a folder of its own."""
    folder = tmp_path_factory.mktemp('example')
    (folder / 'data').mkdir()
    (folder / 'data' / 'squares').symlink_to(tiny_data)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        names = dict(__name__='example', folder=folder)
        exec(compile(code, str(PAGE), 'exec'), names)
    return names


@pytest.fixture(scope='module')
def work_dir(namespace, tiny_data, tmp_path_factory):
    """Of the config's run."""
    backbone = dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, strides=(1, 1, 1, 1), dilations=(1, 1, 2, 4))
    preprocessor = dict(type='SegDataPreProcessor', mean=[100.] * 3, std=[80.] * 3, bgr_to_rgb=True, size=(32, 32))
    config = tiny_config(
        tiny_data, tmp_path_factory.mktemp('run'), scenario=dict(type='ClassIncremental', base=2, increment=2),
        continual=PLOP, param_scheduler=None, next_steps={}, train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=12)),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        model=dict(type='EncoderDecoder', data_preprocessor=preprocessor, backbone=backbone,
                   decode_head=dict(type='FCNHead', in_channels=64, channels=16), test_cfg=dict(mode='whole')))
    config.train_dataloader.sampler = dict(type='Shuffled')
    pipeline = config.train_dataloader.dataset.pipeline
    config.train_dataloader.dataset.pipeline = [one for one in pipeline if one['type'] != 'PhotoMetricDistortion']
    ContinualRunner(config).train()
    return Path(config.work_dir)


def difference(state, expected):
    """The largest one of all tensors of two state dicts."""
    assert state.keys() == expected.keys()
    return max((state[name].double() - expected[name].double()).abs().max().item() for name in state)


@pytest.mark.parametrize('step', [0, 1])
def test_weights_are_those_of_a_run(namespace, work_dir, step):
    found, expected = (load_hand_over(folder / f'step_{step}' / f'step_{step}.pth')['state_dict']
                       for folder in (namespace['folder'] / 'work_dirs' / 'squares', work_dir))
    assert difference(found, expected) <= 1e-6


def test_a_session_goes_on_from_what_a_run_has_left(namespace, work_dir, monkeypatch):
    """Step 1 of the example again, with the run's hand-over for the step before."""
    monkeypatch.chdir(namespace['folder'])
    split, network = namespace['split'], namespace['network']
    set_random_seed(0)
    model = network(split.num_seen)
    model.init_weights()
    plop = Method(split, targets=EntropyPseudoLabels(), losses=dict(local_pod=LocalPOD()))
    session = StepSession(model, plop, work_dir / 'step_0' / 'step_0.pth', new_rows='background')
    session.begin(namespace['loader'], torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    for _ in range(12):
        for data in namespace['loader']:
            session.step(data)
    session.end()
    expected = load_hand_over(work_dir / 'step_1' / 'step_1.pth')['state_dict']
    assert difference(model.state_dict(), expected) <= 1e-6


def test_the_method_had_something_to_do(namespace, work_dir):
    """Thresholds of three old classes, the same; and weights of step 1 are not those of step 0."""
    ours, theirs = (load_state(folder / 'step_1' / 'parts' / 'targets.npz').state['thresholds']
                    for folder in (namespace['folder'] / 'work_dirs' / 'squares', work_dir))
    assert torch.equal(ours, theirs) and ours.shape == (1, 3)
    assert namespace['losses']['loss_local_pod'] > 0


def test_scores_are_those_of_a_run(namespace, work_dir):
    result = json.loads((work_dir / 'step_1' / 'result.json').read_text())
    scores = namespace['scores']
    assert {'mIoU', 'mIoU_old', 'mIoU_new', 'IoU', 'Acc', 'aAcc', 'mAcc', 'classes', 'scored', 'confusion'} == set(
        scores)
    assert {name: result[name] for name in scores} == scores


def test_something_is_learned(namespace):
    """A model that knows the background alone has at most a fifth."""
    assert namespace['scores']['mIoU'] > 20 and namespace['scores']['mIoU_new'] > 0


def test_the_model_is_a_stock_one_again(namespace):
    model = namespace['model']
    assert type(model) is EncoderDecoder
    assert not {'method', 'teacher', 'split', 'tapped_stages'} & set(vars(model))
