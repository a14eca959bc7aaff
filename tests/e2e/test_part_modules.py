"""A plug-in with modules of its own, which are trained, kept and handed over with the model."""
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint
from mmseg.apis import init_model
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from torch import nn
from torch.utils.data import DataLoader

import tests.e2e.stop_hook  # noqa: F401  registers StopHook
from mmcss.datasets import StepDataset
from mmcss.models import Method
from mmcss.models.growing import GrowingModule
from mmcss.models.method import Learning
from mmcss.models.students import make_student
from mmcss.parts import Needs, Part
from mmcss.session import StepSession
from tests.e2e.running import assert_equal_states, run, state
from tests.session.test_step_session import SCENARIO, network
from tests.tiny import loader, tiny_config

HOOKED = 'part_modules.hints.'
STARTS = {}


class Scales(GrowingModule):
    """A number for each step."""

    def __init__(self, step):
        super().__init__()
        self.newest = f'step_{step}'
        for number in range(step + 1):
            self.register_parameter(f'step_{number}', nn.Parameter(torch.ones(1)))

    def inherit(self, old, prefix, new_rows):
        return {**old, f'{prefix}{self.newest}': torch.full((1, ), 7.)}

    def group_of(self, name):
        return 'new' if name == self.newest else 'old'


@MODELS.register_module()
class Hints(Part):
    """Has small classifiers on the embedding, and keeps it predictable from what it was."""

    needs = Needs(embedding=True)

    def __init__(self, from_first_step: bool = True):
        self.from_first_step = from_first_step

    def modules(self, student):
        width = student.decode_head.channels
        self.layers = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.Conv2d(width, student.num_classes, 1))
        self.scales = Scales(student.split.step)
        return dict(layers=self.layers, scales=self.scales)

    def attach(self, student, old):
        STARTS[student.split.step] = {name: value.clone() for name, value in student.state_dict().items()}

    def loss(self, batch):
        scales = torch.cat(list(self.scales.parameters()))
        return (scales.prod() * self.layers(batch.student.embedding)).square().mean() + (scales - 3).square().sum() * .1


def config(data, folder, **changes):
    continual = dict(losses=dict(hints=dict(type='Hints')), new_rows='background', **changes.pop('continual', {}))
    return tiny_config(data, folder, continual=continual, scenario=dict(base=3, increment=1), **changes)


def own(tensors):
    return {name[len(HOOKED):]: value for name, value in tensors.items() if name.startswith(HOOKED)}


@pytest.mark.slow
@pytest.mark.parametrize('averaged', [False, True])
def test_they_learn_and_grow(tiny_data, tmp_path, averaged):
    run(config(tiny_data, tmp_path, custom_hooks=[dict(type='EMAHook', momentum=.5)] if averaged else []))
    before, started, after = own(state(tmp_path, 0)), own(STARTS[1]), own(state(tmp_path, 1))
    assert not torch.equal(before['layers.0.weight'], own(STARTS[0])['layers.0.weight'])  # trained
    assert before['layers.1.num_batches_tracked'] > 0 and before.keys() < after.keys()
    assert len(before['layers.2.weight']) == 4 and len(after['layers.2.weight']) == 5
    for name, value in before.items():
        assert torch.equal(started[name][:len(value)] if value.dim() else started[name], value)  # balanced starts are not for them
    assert started['scales.step_1'] == 7 and not torch.equal(after['scales.step_0'], started['scales.step_0'])
    checkpoint = torch.load(tmp_path / 'step_1' / 'epoch_3.pth', weights_only=False)['state_dict']
    assert own(checkpoint).keys() == after.keys()


@pytest.mark.slow
def test_stock_mmsegmentation_leaves_them_out(tiny_data, tmp_path):
    run(config(tiny_data, tmp_path))
    file = tmp_path / 'step_1' / 'step_1.pth'
    model = init_model(str(tmp_path / 'step_1' / 'deploy.py'), str(file), device='cpu')
    assert type(model).__module__.startswith('mmseg.') and not hasattr(model, 'part_modules')
    left = state(tmp_path, 1)
    assert all(torch.equal(value, left[name]) for name, value in model.state_dict().items())
    load_checkpoint(model, str(file), strict=False)


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_them(tiny_data, tmp_path):
    run(config(tiny_data, tmp_path / 'whole'))
    with pytest.raises(KeyboardInterrupt):
        run(config(tiny_data, tmp_path / 'stopped', custom_hooks=[dict(type='StopHook', step=1, iteration=3)]))
    cfg = config(tiny_data, tmp_path / 'stopped')
    cfg.resume = True
    run(cfg)
    for step in range(2):
        assert_equal_states(state(tmp_path / 'whole', step), state(tmp_path / 'stopped', step))


@pytest.mark.slow
def test_rates_and_what_is_frozen(tiny_data, tmp_path):
    """'shared' is not about them, their own names are; a module says whose its parameters are."""
    cfg = config(tiny_data, tmp_path, continual=dict(frozen=['shared', 'old', 'part_modules.hints.layers.0']))
    cfg.next_steps.optim_wrapper.paramwise_cfg = dict(custom_keys={'part_modules.hints.layers.2': dict(lr_mult=0.)})
    run(cfg)
    started, after = own(STARTS[1]), own(state(tmp_path, 1))
    moved = {name for name, value in after.items() if value.is_floating_point() and not torch.equal(value, started[name])}
    assert moved == {'layers.1.weight', 'layers.1.bias', 'layers.1.running_mean', 'layers.1.running_var', 'scales.step_1'}


@pytest.mark.slow
def test_a_part_that_begins_later(tiny_data, tmp_path):
    cfg = config(tiny_data, tmp_path)
    cfg.continual.losses.hints.from_first_step = False
    run(cfg)
    assert own(state(tmp_path, 0)) == {} and len(own(state(tmp_path, 1))) == 11


def test_in_a_loop_of_ones_own(tiny_data, tmp_path):
    """The model is a stock one afterwards; the next session finds what this one has left, in it or in its file."""
    batches = [DataLoader(StepDataset(loader(tiny_data, 'train')['dataset'], split), 4, collate_fn=pseudo_collate) for split in SCENARIO]
    sessions = []
    for previous in (None, 'session', 'file'):
        step = int(previous is not None)
        before = dict(session=sessions and sessions[0], file=tmp_path / 'step_0.pth').get(previous)
        session = StepSession(network(3 + step), Method(SCENARIO[step], losses=dict(hints=Hints())), before)
        names = session.model.state_dict().keys()
        optimizer = torch.optim.SGD(session.model.parameters(), lr=.01)
        session.begin(batches[step], optimizer)
        if step:
            assert torch.equal(own(STARTS[1])['layers.0.weight'], own(sessions[0].part_tensors)['layers.0.weight'])
        start = {name: value.clone() for name, value in own(session.model.state_dict()).items()}
        torch.manual_seed(0)
        session.step(next(iter(batches[step])))
        assert all(not torch.equal(value, start[name]) for name, value in own(session.model.state_dict()).items() if 'weight' in name)
        session.end(tmp_path / f'step_{step}.pth')
        sessions.append(session)
        assert session.model.state_dict().keys() == names and len(session.part_tensors) == 10 + step
    for name in ('layers.0.weight', 'scales.step_0'):
        assert not torch.equal(own(sessions[0].part_tensors)[name], own(sessions[1].part_tensors)[name])


def test_a_place_that_is_not_there():
    part, model = Hints(), network(3)
    part.modules = lambda student: {'backbone.layer4.0.conv3': nn.Identity()}
    with pytest.raises(ValueError, match=r"the part 'hints' \(modules\): got \['backbone.layer4.0.conv3'\], which are no modules of this model, "
                                         "did you mean 'backbone.layer4.0.conv"):
        make_student(model, Method(SCENARIO[0], losses=dict(hints=part)), Learning())
    assert type(model) is EncoderDecoder and not hasattr(model, 'part_modules')
