"""A plug-in that fuses the trained model with the one before, as EWF does."""
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmseg.registry import MODELS

from mmcss.parts import Part
from tests.e2e.running import assert_equal_states, run, state
from tests.tiny import tiny_config

SHARE = .25
TRAINED, SEEN = {}, {}


@MODELS.register_module()
class Fusion(Part):
    """Keeps a quarter of what the step has learned."""

    changes_model = True

    def attach(self, student, old):
        self.old, self.widen = old, student.widening(old)

    def after_step(self, split, batches):
        if split.step == 0:
            return
        trained = batches.model.state_dict()
        TRAINED[split.step] = {name: value.clone() for name, value in trained.items()}
        for name, old in self.old.items():
            value = trained[name]
            if value.is_floating_point():
                known = self.widen(name, torch.ones_like(old)) > 0
                value.copy_(torch.where(known, torch.lerp(self.widen(name, old), value, SHARE), value))


@MODELS.register_module()
class Watcher(Part):
    """Looks at the model behind it."""

    def after_step(self, split, batches):
        assert next(iter(batches)).student.head_logits.shape[1] == split.num_seen
        SEEN[split.step] = {name: value.clone() for name, value in batches.model.state_dict().items()}


@HOOKS.register_module()
class StopBeforeHandOver(Hook):
    """Ends a step when its parts have looked at it."""

    priority = 'NORMAL'

    def after_train(self, runner):
        if runner.model.split.step == 1:
            raise KeyboardInterrupt


def config(data, folder, *hooks):
    losses = dict(fusion=dict(type='Fusion'), watcher=dict(type='Watcher'))
    return tiny_config(data, folder, continual=dict(losses=losses), custom_hooks=list(hooks), scenario=dict(base=2, increment=1))


@pytest.mark.slow
@pytest.mark.parametrize('averaged', [False, True])
def test_what_is_handed_over_and_judged_is_what_was_fused(tiny_data, tmp_path, averaged):
    hooks = [dict(type='EMAHook', momentum=.2)] if averaged else []
    cfg = config(tiny_data, tmp_path, *hooks)
    results = run(cfg)
    for step in (1, 2):
        before, trained, after = state(tmp_path, step - 1), TRAINED[step], state(tmp_path, step)
        assert_equal_states(after, SEEN[step])
        for name, value in after.items():
            old = before[name]
            if not value.is_floating_point():
                assert torch.equal(value, trained[name])
                continue
            rows = len(old)  # new ones stay
            torch.testing.assert_close(value[:rows], (1 - SHARE) * old + SHARE * trained[name][:rows])
            assert torch.equal(value[rows:], trained[name][rows:])
        assert not torch.equal(after['backbone.stem.0.weight'], trained['backbone.stem.0.weight'])
        checkpoint = torch.load(tmp_path / f'step_{step}' / 'epoch_3.pth', weights_only=False)
        assert_equal_states(checkpoint['state_dict'], after)
        assert 'optimizer' in checkpoint and ('ema_state_dict' in checkpoint) is averaged
    # What was judged, and what a run that goes on judges again, is the hand-over.
    (tmp_path / 'step_2' / 'result.json').unlink()
    cfg.resume = True
    assert run(cfg)['matrix'] == results['matrix']
    assert_equal_states(state(tmp_path, 2), after)


@pytest.mark.slow
def test_a_step_that_is_stopped_in_between_is_fused_once(tiny_data, tmp_path):
    run(config(tiny_data, tmp_path / 'whole'))
    with pytest.raises(KeyboardInterrupt):
        run(config(tiny_data, tmp_path / 'stopped', dict(type='StopBeforeHandOver')))
    assert not (tmp_path / 'stopped' / 'step_1' / 'step_1.pth').exists()
    cfg = config(tiny_data, tmp_path / 'stopped')
    cfg.resume = True
    run(cfg)
    for step in range(3):
        assert_equal_states(state(tmp_path / 'whole', step), state(tmp_path / 'stopped', step))
