import copy
import gc
import re
import weakref

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.runner import set_random_seed
from mmseg.models import EncoderDecoder
from torch import nn
from torch.utils.data import DataLoader

from mmcss.datasets import StepDataset
from mmcss.losses import LocalPOD, UnbiasedDistillation
from mmcss.models import EntropyPseudoLabels, Method, load_hand_over
from mmcss.parts import Part
from mmcss.scenario import ClassIncremental
from mmcss.session import StepSession
from tests.models.makers import build, encoder_decoder, with_classes
from tests.tiny import CLASSES, loader

SCENARIO = ClassIncremental.from_config(CLASSES[1:], base=2, increment=1)
PREPROCESSOR = dict(type='SegDataPreProcessor', mean=[100.] * 3, std=[80.] * 3, size=(32, 32))


@pytest.fixture(scope='module')
def loaders(tiny_data):
    """Of the training images of steps 0 and 1, in order."""
    return [DataLoader(StepDataset(loader(tiny_data, 'train')['dataset'], split), 4, collate_fn=pseudo_collate)
            for split in SCENARIO][:2]


def network(num_classes, seed=0):
    return build(ConfigDict(with_classes(encoder_decoder('ASPP', auxiliary=True), num_classes),
                            data_preprocessor=PREPROCESSOR, test_cfg=dict(mode='whole')), seed)


class Counter(Part):
    """Keeps one number, and counts what it sees."""

    from_first_step = True

    def __init__(self):
        self.value, self.updates = torch.zeros(1), 0

    def load_previous(self, state):
        self.value = state['value']

    def before_update(self):
        self.updates += 1

    def after_step(self, split, batches):
        self.value = self.value + sum(len(batch.student.head_logits) for batch in batches)

    def state_dict(self):
        return dict(value=self.value)


class Refusing(Part):
    """Can't begin."""

    def __init__(self, error=KeyError):
        self.error = error

    def before_step(self, split, batches):
        raise self.error('nothing to see')


def plop():
    return Method(SCENARIO[1], targets=EntropyPseudoLabels(), losses=dict(pod=LocalPOD(), counter=Counter()))


def learn(session, loader, optimizer=None, updates=2):
    """Train some updates, with the same augmentations each time."""
    session.begin(loader, optimizer or torch.optim.SGD(session.model.parameters(), lr=.01, momentum=.9))
    set_random_seed(5)
    return [session.step(data) for _, data in zip(range(updates), loader)]


@pytest.fixture(scope='module')
def first(loaders, tmp_path_factory):
    """A session of step 0 that has ended, and its hand-over."""
    session = StepSession(network(3), Method(SCENARIO[0], losses=dict(counter=Counter())))
    learn(session, loaders[0])
    path = tmp_path_factory.mktemp('first') / 'step_0' / 'step_0.pth'
    session.end(path)
    return session, path


def test_what_a_session_leaves(first):
    session, path = first
    hand_over = load_hand_over(path, SCENARIO[0].seen)
    assert hand_over['meta']['step'] == 0 and hand_over['meta']['dataset_meta']['classes'] == SCENARIO[0].seen
    state = session.model.state_dict()
    assert hand_over['state_dict'].keys() == state.keys() == network(3).state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in hand_over['state_dict'].items())
    assert session.states['counter']['value'] == 8 and sorted(file.name for file in path.parent.iterdir()) == [
        'parts', 'step_0.pth']


def weights_after(loaders, previous):
    session = StepSession(network(4, seed=1), plop(), previous, new_rows='background')
    losses = learn(session, loaders[1])
    session.end()
    return session, losses


def test_the_step_before_may_be_given_as_session_or_file(first, loaders):
    """Teacher, old rows and states of parts are the same."""
    (session, losses), (other, others) = (weights_after(loaders, previous) for previous in first)
    assert losses[0].keys() == {'decode.loss_ce', 'decode.acc_seg', 'aux.loss_ce', 'aux.acc_seg', 'loss_pod', 'loss'}
    assert [{name: value.item() for name, value in one.items()} for one in losses] == [
        {name: value.item() for name, value in one.items()} for one in others]
    state = other.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in session.model.state_dict().items())
    assert session.states['counter']['value'] == other.states['counter']['value'] == 8 + 7
    assert not torch.equal(state['backbone.stem.0.weight'], first[0].model.state_dict()['backbone.stem.0.weight'])


def test_a_model_alone_says_nothing_of_parts(first, loaders):
    model = first[0].model
    session = StepSession(network(4), plop(), model)
    with pytest.raises(ValueError, match="the step before has left nothing of the part 'counter'"):
        learn(session, loaders[1])
    before = copy.deepcopy(model.state_dict())
    session = StepSession(network(4), Method(SCENARIO[1], losses=dict(unkd=UnbiasedDistillation())), model)
    losses = learn(session, loaders[1])
    teacher = session.model.teacher.model
    assert teacher is not model and model.with_auxiliary_head and not teacher.with_auxiliary_head
    assert all(parameter.requires_grad for parameter in model.parameters())
    session.end()
    assert losses[-1]['loss_unkd'] > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_loop_of_ones_own(first, loaders):
    """Gradients of two batches add up; parts are called once an update, and no more after the end."""
    counter = Counter()
    session = StepSession(network(4), Method(SCENARIO[1], losses=dict(counter=counter)), first[0])
    optimizer = torch.optim.SGD(session.model.parameters(), lr=.01)
    session.begin(loaders[1], optimizer)
    assert session.model.teacher is not None and isinstance(session.model, EncoderDecoder)
    for data in loaders[1]:
        loss = session.loss(data)
        assert loss.requires_grad and loss.dim() == 0
        loss.backward()
    optimizer.step()
    assert counter.updates == 1
    session.end()
    optimizer.step()
    assert counter.updates == 1 and type(session.model) is EncoderDecoder
    assert not {'method', 'teacher', 'split'} & set(vars(session.model))


def test_without_a_part_that_looks_at_it_there_is_no_teacher(first, loaders):
    session = StepSession(network(4), Method(SCENARIO[1]), first[0])
    learn(session, loaders[1], updates=0)
    assert session.model.teacher is None


def test_frozen_rows_stand_still(first, loaders):
    session = StepSession(network(4), Method(SCENARIO[1]), first[0], frozen=('shared', 'old'))
    optimizer = torch.optim.SGD(session.model.parameters(), lr=.1, momentum=.9, weight_decay=.1)
    learn(session, loaders[1], optimizer)
    session.end()
    before, after = first[0].model.state_dict(), session.model.state_dict()
    moved = {name for name, _ in session.model.named_parameters() if not torch.equal(after[name][:3], before[name][:3])}
    assert moved == {'decode_head.conv_seg.weight', 'decode_head.conv_seg.bias', 'auxiliary_head.conv_seg.weight',
                     'auxiliary_head.conv_seg.bias'}  # the background's
    for name in moved:
        assert torch.equal(after[name][1:3], before[name][1:3])
    assert all(parameter.requires_grad for parameter in session.model.parameters())
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize('error', [KeyError, KeyboardInterrupt])
def test_a_session_that_can_not_begin_leaves_a_stock_model(first, loaders, error):
    model = network(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=.1)
    with pytest.raises(error, match='nothing to see'):
        learn(StepSession(model, Method(SCENARIO[1], losses=dict(a=Refusing(error))), first[0]), loaders[1], optimizer)
    assert type(model) is EncoderDecoder and 'method' not in vars(model) and not optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize('argument, told', [
    (dict(frozen=['olds']), "frozen: got ['olds'], valid are shared, norms, background, old, new, unknown, and "),
    (dict(row_lr=dict(olds=.1)), 'row_lr.olds'),
    (dict(stages=['neck']), "stages: got ['neck'], which are no modules of this model; valid are "),
    (dict(new_rows='unknown'), "new_rows: 'unknown' needs a model with an unknown class (unknown)."),
])
def test_an_argument_that_means_nothing_to_the_model_is_told_by_its_name(first, loaders, argument, told):
    model = network(4)
    with pytest.raises(ValueError, match='^' + re.escape(told)):
        learn(StepSession(model, Method(SCENARIO[1]), first[0], **argument), loaders[1])
    assert type(model) is EncoderDecoder and all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize('argument, told', [
    (dict(frozen='old'), "frozen: got 'old', expected a list."),
    (dict(row_lr=dict(old=-1)), 'row_lr.old: got -1, expected a number greater than or equal to 0.'),
    (dict(new_rows='other'), "new_rows: got 'other', expected 'random' or 'background' or 'copy_background' or 'unknown'."),
])
def test_an_argument_of_another_kind_is_told_by_its_name(first, argument, told):
    with pytest.raises(ValueError, match='^' + re.escape(told)):
        StepSession(network(4), Method(SCENARIO[1]), first[0], **argument)


def test_what_is_no_segmentor_is_told(first):
    with pytest.raises(TypeError, match='^model: got Linear, expected a stock EncoderDecoder or CascadeEncoderDecoder.$'):
        StepSession(nn.Linear(1, 1), Method(SCENARIO[1]), first[0])
    with pytest.raises(TypeError, match='^previous: got Linear, expected a StepSession, a stock model or the path of a hand-over'):
        StepSession(network(4), Method(SCENARIO[1]), nn.Linear(1, 1))


def test_an_optimizer_of_another_model_is_refused(first, loaders):
    model, other = network(4), network(4)
    stray = torch.optim.SGD([*model.parameters(), other.decode_head.conv_seg.bias], lr=.1)
    with pytest.raises(ValueError, match="^optimizer: got parameters that the session's model does not have; build it"):
        learn(StepSession(model, Method(SCENARIO[1]), first[0]), loaders[1], stray)
    assert type(model) is EncoderDecoder


def test_a_forgotten_collate_fn_is_told(first, loaders):
    with pytest.raises(ValueError, match="^loader: got torch's default_collate"):
        learn(StepSession(network(4), Method(SCENARIO[1]), first[0]), DataLoader(loaders[1].dataset, 4))


@pytest.mark.parametrize('used', [Counter, LocalPOD])
def test_parts_of_another_session_are_refused(first, loaders, used):
    """But not those of a session that could not begin."""
    part = used()
    with pytest.raises(KeyError, match='nothing to see'):
        learn(StepSession(network(4), Method(SCENARIO[1], losses=dict(counter=part, b=Refusing())), first[0]), loaders[1])
    sessions = [StepSession(network(4), Method(SCENARIO[1], losses=dict(counter=part)), first[0]) for _ in range(2)]
    learn(sessions[0], loaders[1], updates=0)
    sessions[0].end()
    with pytest.raises(ValueError, match='^method: got parts that another session has used; build new ones for each step.$'):
        learn(sessions[1], loaders[1])


def test_a_session_that_has_ended_lets_go_of_what_trained(first, loaders):
    """The next step holds it, and must not hold the optimizer's moments on the device."""
    session = StepSession(network(4), plop(), first[0])
    optimizer = torch.optim.SGD(session.model.parameters(), lr=.01, momentum=.9)
    learn(session, loaders[1], optimizer)
    teacher, left = weakref.ref(session.model.teacher.model), weakref.ref(optimizer)
    session.end()
    del optimizer
    gc.collect()
    assert teacher() is None and left() is None
    assert not {'loader', 'dataset', 'optimizer', 'moments'} & set(vars(session))
    assert set(session.states) == {'targets', 'counter'} and session.split == SCENARIO[1]


@pytest.mark.parametrize('classes, step, previous, told', [
    (3, 1, 'first', 'model: got 3 channels, expected 4: step 1 has 4 seen classes. Set num_classes of its heads.'),
    (4, 1, None, 'previous: got None at step 1; step 0 has none, later steps need one.'),
    (3, 0, 'step_0.pth', "previous: got 'step_0.pth' at step 0; step 0 has none"),
    (5, 2, 'first', "previous: got a session of step 0 with the classes ['background', 'red', 'green'], expected one that has "
                    "ended, with ['background', 'red', 'green', 'blue']."),
])
def test_what_does_not_fit_is_told_at_once(first, classes, step, previous, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        StepSession(network(classes), Method(SCENARIO[step]), first[0] if previous == 'first' else previous)


def test_moments_out_of_order_are_told(first, loaders):
    session = StepSession(network(4), Method(SCENARIO[1]), first[0])
    for early in (lambda: session.step({}), session.end):
        with pytest.raises(RuntimeError, match='^the session of step 1 has not begun; begin it once, train, and end it once.'):
            early()
    with pytest.raises(ValueError, match='loader.dataset: got StepDataset, expected the StepDataset of step 1'):
        learn(session, loaders[0])
    learn(session, loaders[1], updates=0)
    with pytest.raises(RuntimeError, match='the session of step 1 has begun;'):
        learn(session, loaders[1])
    with pytest.raises(ValueError, match='expected one that has ended'):
        StepSession(network(5), Method(SCENARIO[2]), session)
    session.end()
    with pytest.raises(RuntimeError, match='the session of step 1 has ended;'):
        session.loss({})
