import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict

from mmcss.hooks import ContinualHook
from mmcss.models import save_hand_over
from mmcss.parts import Part, overrides
from mmcss.session.part_states import load_state, save_state
from tests.models.makers import make_split
from tests.session.test_part_states import assert_same

SPLIT = make_split(3, 1)


class Thresholds(Part):
    """A part that looks at the data before and after training and counts its looks."""

    def __init__(self):
        self.calls = []
        self.value = torch.zeros(())

    def before_step(self, split, batches):
        self.calls.append(('before', split, batches.student))
        self.value = torch.tensor(1.)

    def after_step(self, split, batches):
        self.calls.append(('after', split, batches.student))
        self.value = self.value + 1

    def state_dict(self):
        return dict(value=self.value)

    def load_previous(self, state):
        self.calls.append(('previous', state['value'].item()))

    def load_state_dict(self, state):
        self.value = state['value']


def test_what_is_nan_is_not_left_to_the_next_step(tmp_path):
    part = Thresholds()
    part.before_step = lambda split, batches: setattr(part, 'value', torch.tensor(float('nan')))
    made = step(tmp_path, targets=part)
    made.model.split, made.iter = SimpleNamespace(step=2, num_old=3, num_seen=4), 0
    with pytest.raises(FloatingPointError, match='step 2: the state of targets holds NaN in value'):
        ContinualHook().before_train(made)
    assert list(tmp_path.iterdir()) == []


def step(folder, resume=False, previous=None, **parts):
    """A runner as far as the hook looks at it."""
    observers = {name: part for name, part in parts.items() if overrides(part, 'after_step')}
    model = SimpleNamespace(split=SPLIT, method=SimpleNamespace(parts=parts, observers=observers),
                            previous=previous, teacher=None, buffers=list)
    loader = SimpleNamespace(dataset=SimpleNamespace(each_once=list, viewed=lambda changes: None))
    return SimpleNamespace(model=model, work_dir=str(folder), _resume=resume, hooks=(), train_dataloader=loader,
                           logger=logging.getLogger('test'))


def test_moments_of_a_part_and_its_state(tmp_path):
    part, hook = Thresholds(), ContinualHook()
    runner = step(tmp_path, part=part, silent=Part())
    hook.before_train(runner)
    assert part.calls == [('before', SPLIT, False)]
    assert_same(load_state(tmp_path / 'parts' / 'part.npz').state, dict(value=torch.tensor(1.)))
    hook.after_train(runner)
    assert part.calls[1:] == [('after', SPLIT, True)]
    assert_same(load_state(tmp_path / 'parts' / 'part.npz').state, dict(value=torch.tensor(2.)))
    assert [path.name for path in (tmp_path / 'parts').iterdir()] == ['part.npz']  # a part without state leaves no file


def test_resumed_run_reads_what_was_found_before(tmp_path):
    ContinualHook().before_train(step(tmp_path, part=Thresholds()))
    part = Thresholds()
    ContinualHook().before_train(step(tmp_path, resume=True, part=part))
    assert part.calls == [] and part.value == 1


@pytest.mark.parametrize('resume, left_over', [(True, False), (False, True)])
def test_looks_again_where_nothing_was_found_or_the_run_starts_anew(tmp_path, resume, left_over):
    if left_over:
        save_state(tmp_path / 'parts' / 'part.npz', dict(value=torch.tensor(9.)), 'Thresholds')
    part = Thresholds()
    ContinualHook().before_train(step(tmp_path, resume=resume, part=part))
    assert [call[0] for call in part.calls] == ['before'] and part.value == 1


def test_a_part_takes_over_what_the_step_before_left(tmp_path):
    save_state(tmp_path / 'parts' / 'part.npz', dict(value=torch.tensor(7.)), 'Thresholds')
    (tmp_path / 'step_1').mkdir()
    part = Thresholds()
    ContinualHook().before_train(step(tmp_path / 'step_1', previous=str(tmp_path / 'step_0.pth'), part=part, silent=Part()))
    assert part.calls == [('previous', 7.), ('before', SPLIT, False)]


def test_a_state_that_does_not_fit_the_part_is_named(tmp_path):
    save_state(tmp_path / 'parts' / 'part.npz', dict(other=torch.tensor(1)), 'Thresholds')
    for resume, previous in ((True, None), (False, str(tmp_path / 'step_0.pth'))):
        with pytest.raises(ValueError, match=r"part\.npz is damaged, or was left by another method \(KeyError: 'value'\)"):
            ContinualHook().before_train(step(tmp_path, resume, previous, part=Thresholds()))


def test_a_state_of_another_class_is_named(tmp_path):
    save_state(tmp_path / 'parts' / 'part.npz', dict(value=torch.tensor(7.)), 'Medians')
    for resume, previous in ((True, None), (False, str(tmp_path / 'step_0.pth'))):
        with pytest.raises(ValueError, match=r'part\.npz is damaged, .*got a state of Medians, expected one of Thresholds'):
            ContinualHook().before_train(step(tmp_path, resume, previous, part=Thresholds()))


class Rows(Part):
    """A part with an entry for each class."""

    per_class = {'rows': 1}

    def load_previous(self, state):
        self.rows = state['rows']

    load_state_dict = load_previous


@pytest.mark.parametrize('resume, fitting', [(False, {3}), (True, {0, 3, 4})])
def test_a_state_of_other_classes_is_named(tmp_path, resume, fitting):
    for number in range(6):
        save_state(tmp_path / 'parts' / 'part.npz', dict(rows=torch.zeros(2, number)), 'Rows')
        runner = step(tmp_path, resume, None if resume else str(tmp_path / 'step_0.pth'), part=Rows())
        runner.model.split = SimpleNamespace(num_old=3, num_seen=4)
        if number in fitting:
            ContinualHook().before_train(runner)
            continue
        with pytest.raises(ValueError, match=fr'part\.npz is damaged, .*rows has {number} classes, expected [34]'):
            ContinualHook().before_train(runner)


class Follower(Part):
    """A part that counts updates, and notes the gradients that it sees."""

    from_first_step = True

    def __init__(self):
        self.model, self.old, self.seen = None, None, []

    def attach(self, student, old):
        self.model, self.old = student, old

    def before_update(self):
        self.seen.append(self.model.weight.grad.item())
        self.model.weight.grad += 1

    def state_dict(self):
        return dict(seen=torch.tensor(self.seen))

    def load_state_dict(self, state):
        self.seen = state['seen'].tolist()


class Weight(torch.nn.Module):
    """A student of one weight whose gradient is its input."""

    def __init__(self, previous=None, **parts):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.split, self.previous, self.teacher = SPLIT, previous, None
        self.method = SimpleNamespace(parts=parts, observers={})


def following(folder, part, resume=False, wrapper=OptimWrapper, previous=None, **options):
    """A runner that trains :class:`Weight` with plain gradient descent of rate 1."""
    runner, model = step(folder, resume), Weight(previous, part=part)
    optimizer = torch.optim.SGD(model.parameters(), lr=1., **options.pop('optimizer', {}))
    runner.model, runner.optim_wrapper = model, wrapper(optimizer=optimizer, **options)
    return runner


def test_parts_see_whole_clipped_gradients_before_each_update(tmp_path):
    """Gradients that accumulate are averaged and clipped; what a part adds is not clipped."""
    part, hook = Follower(), ContinualHook()
    runner = following(tmp_path, part, accumulative_counts=2, clip_grad=dict(max_norm=2.))
    hook.before_train(runner)
    assert part.model is runner.model and part.old == {}
    model, wrapper = runner.model, runner.optim_wrapper
    wrapper.initialize_count_status(model, 0, 6)
    for number in (1., 2., 4., 6.):
        wrapper.update_params(number * model.weight)
    assert part.seen == pytest.approx([1.5, 2.], rel=1e-5)
    assert model.weight.item() == pytest.approx(-(1.5 + 1) - (2. + 1), rel=1e-5)
    hook.after_train(runner)
    wrapper.update_params(model.weight)
    wrapper.update_params(model.weight)
    assert len(part.seen) == 2


def test_an_update_that_mixed_precision_skips_is_not_seen(tmp_path):
    """Gradients come without its factor."""
    part = Follower()
    runner = following(tmp_path, part)
    ContinualHook().before_train(runner)
    scaler = torch.amp.GradScaler('cpu', init_scale=1024.)
    weight, optimizer = runner.model.weight, runner.optim_wrapper.optimizer
    for factor in (float('inf'), 3.):
        optimizer.zero_grad()
        scaler.scale(factor * weight).backward()
        scaler.step(optimizer)
        scaler.update()
    assert part.seen == [3.] and weight.item() == -4


def test_the_step_before_is_given_to_parts_that_take_the_model(tmp_path):
    path = tmp_path / 'step_0.pth'
    save_hand_over(path, dict(weight=torch.tensor(7.)), dict(classes=['background']))
    part = Follower()
    ContinualHook().before_train(following(tmp_path, part, previous=str(path)))
    assert_same(part.old, dict(weight=torch.tensor(7.)))


def test_state_of_parts_that_follow_is_in_checkpoints(tmp_path):
    part, hook, checkpoint = Follower(), ContinualHook(), {}
    runner = following(tmp_path, part)
    hook.before_train(runner)
    runner.optim_wrapper.update_params(5 * runner.model.weight)
    runner.model.method.parts['other'] = Thresholds()
    hook.before_save_checkpoint(runner, checkpoint)
    assert list(checkpoint['continual']) == ['part']
    assert_same(checkpoint['continual']['part'], dict(seen=torch.tensor([5.])))
    for resume, seen in ((True, [5.]), (False, [])):
        again, hook = Follower(), ContinualHook()
        runner = following(tmp_path / 'again', again, resume)
        (tmp_path / 'again').mkdir(exist_ok=True)
        hook.after_load_checkpoint(runner, checkpoint)
        hook.before_train(runner)
        assert again.seen == seen
        assert hook._resumed == {}  # no longer on the device


def test_a_checkpoint_wins_over_an_older_file(tmp_path):
    save_state(tmp_path / 'parts' / 'part.npz', dict(seen=torch.tensor([9.])), 'Follower')
    part, hook = Follower(), ContinualHook()
    runner = following(tmp_path, part, resume=True)
    hook.after_load_checkpoint(runner, dict(continual=dict(part=dict(seen=torch.tensor([5.])))))
    hook.before_train(runner)
    assert part.seen == [5.]


def test_several_optimizers_are_refused(tmp_path):
    runner = following(tmp_path, Follower())
    runner.optim_wrapper = OptimWrapperDict(a=runner.optim_wrapper)
    with pytest.raises(ValueError, match='got several optimizers, but this method needs a single one'):
        ContinualHook().before_train(runner)


def test_a_fused_optimizer_with_mixed_precision_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(AmpOptimWrapper, '__init__', OptimWrapper.__init__)  # needs no GPU
    ContinualHook().before_train(following(tmp_path, Follower(), wrapper=AmpOptimWrapper))
    ContinualHook().before_train(following(tmp_path, Follower(), optimizer=dict(fused=True)))
    options = dict(wrapper=AmpOptimWrapper, optimizer=dict(fused=True))
    with pytest.raises(ValueError, match='got a fused optimizer .* Leave fused=True out of it'):
        ContinualHook().before_train(following(tmp_path, Follower(), **copy.deepcopy(options)))
    # A part that does not look at gradients goes with it.
    ContinualHook().before_train(following(tmp_path, Part(), **options))
