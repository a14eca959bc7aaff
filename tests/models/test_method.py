import pytest
import torch

from mmcss.models import Method
from mmcss.parts import Needs, Part, StepBatch
from tests.models.makers import labels, make_split


class Constant(Part):
    """Adds a number to each label, and a loss."""

    def __init__(self, value, add=0, needs=None, from_first_step=False):
        self.value = value
        self.add = add
        self.needs = needs or Needs()
        self.from_first_step = from_first_step

    def targets(self, batch):
        batch.target = 2 * batch.target + self.add

    def loss(self, batch):
        return None if self.value is None else torch.tensor(float(self.value))


class Silent(Part):
    """A part with no moment of its own."""


def method(step, **losses):
    return Method(make_split(3 * (step > 0), 2), losses=losses)


def batch(step=1):
    target = labels([0, 1])
    return StepBatch(make_split(3 * (step > 0), 2), target, target)


def test_losses_by_name():
    made = method(1, a=dict(type=Constant, value=2), b=dict(type=Constant, value=3))
    assert {key: value.item() for key, value in made.losses(batch()).items()} == {'loss_a': 2, 'loss_b': 3}


def test_parts_without_a_loss_are_left_out():
    made = method(1, a=dict(type=Constant, value=None), b=dict(type=Silent))
    assert made.losses(batch()) == {} and list(made.parts) == ['a', 'b']


def test_parts_complete_targets_one_after_another():
    made = Method(make_split(3, 2), targets=dict(type=Constant, value=None, add=1),
                  losses=dict(a=dict(type=Constant, value=0, add=5)))
    one = batch()
    made.complete_targets(one)
    assert list(made.parts) == ['targets', 'a']
    assert torch.equal(one.target, 2 * (2 * one.raw_target + 1) + 5)


def test_needs_are_those_of_all_parts():
    made = method(1, a=dict(type=Constant, value=0, needs=Needs(stages=True)),
                  b=dict(type=Constant, value=0, needs=Needs(logits=True)))
    assert made.needs == Needs(stages=True, logits=True, embedding=False)
    assert method(1).needs == Needs()


def test_parts_that_compare_with_the_teacher_rest_at_the_first_step():
    made = method(0, a=dict(type=Constant, value=1, needs=Needs(stages=True)),
                  b=dict(type=Constant, value=2, needs=Needs(embedding=True), from_first_step=True))
    assert list(made.parts) == ['b']
    assert list(made.losses(batch(0))) == ['loss_b']
    assert made.needs == Needs(embedding=True)


def test_parts_may_be_there_already():
    """None takes one out, as in a config."""
    targets, loss = Constant(None), Constant(2)
    made = Method(make_split(3, 2), targets, dict(a=loss, b=None, c=dict(type=Constant, value=3)))
    assert made.parts['targets'] is targets and made.parts['a'] is loss and list(made.parts) == ['targets', 'a', 'c']
    assert list(Method(make_split(0, 2), targets, dict(a=loss)).parts) == []


def test_an_unknown_part_is_named():
    with pytest.raises(ValueError, match="^continual.losses.pod.type: got 'LocalPodd', .*, did you mean 'LocalPOD'"):
        method(1, pod=dict(type='LocalPodd'))


def test_a_loss_can_be_taken_out():
    assert Method(make_split(3, 2), losses=dict(pod=None, kd=dict(type='KnowledgeDistillation'))).parts.keys() == {'kd'}


class Watcher(Part):
    """Looks at the data after training."""

    needs = Needs(stages=True)

    def after_step(self, split, batches):
        pass


class EarlyWatcher(Watcher):
    """Acts in training from the first step on, besides."""

    from_first_step = True


def test_parts_that_look_after_training_do_so_at_every_step():
    """At the first one they take no part in training, and training fetches nothing for them."""
    made = method(0, a=dict(type=Watcher), b=dict(type=Constant, value=2), c=dict(type=EarlyWatcher))
    assert list(made.observers) == ['a', 'c'] and list(made.parts) == ['c']
    alone = method(0, a=dict(type=Watcher))
    assert list(alone.observers) == ['a'] and alone.parts == {} and alone.needs == Needs()
    later = method(1, a=dict(type=Watcher), b=dict(type=Constant, value=2), c=dict(type=Silent))
    assert list(later.observers) == ['a'] and list(later.parts) == ['a', 'b', 'c']
    assert later.observers['a'] is later.parts['a'] and later.needs == Needs(stages=True)


def test_the_part_that_completes_labels_may_look_too():
    made = Method(make_split(0, 2), targets=dict(type=Watcher), losses=dict(a=dict(type=Watcher)))
    assert list(made.observers) == ['targets', 'a'] and made.parts == {}


def test_no_loss_has_the_name_of_the_targets():
    with pytest.raises(ValueError, match="got a loss called 'targets'"):
        method(1, targets=dict(type=Constant, value=1))


def test_losses_count_by_the_images_of_their_process():
    """Where it has 3 of 4 images, of two processes: 1.5 times; not those that are no mean over images."""
    made = method(1, a=dict(type=Constant, value=2), b=dict(type=Constant, value=2))
    made.parts['b'].mean_over_images = False
    one = batch()
    one.image_share = torch.tensor(1.5)
    assert one.over_processes and not batch().over_processes
    assert {key: value.item() for key, value in made.losses(one).items()} == {'loss_a': 3, 'loss_b': 2}
