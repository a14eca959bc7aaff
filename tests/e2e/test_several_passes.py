"""A plug-in that looks at the images several times before a step (as NeST does), each time augmented anew."""
import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from mmcss.parts import Part
from tests.e2e.running import assert_equal_states, run, state
from tests.tiny import tiny_config

STOPS = []


@MODELS.register_module()
class Epochs(Part):
    """Learns a bias from the old model's scores in three passes, and starts the new row with it."""

    def attach(self, student, old):
        self.bias = student.decode_head.conv_seg.bias

    def before_step(self, split, batches):
        self.means = torch.stack([self.mean(batches) for _ in range(3)])
        with torch.no_grad():
            self.bias[split.num_old:] = self.means.mean()

    def mean(self, batches):
        if STOPS and STOPS.pop():
            raise KeyboardInterrupt
        return torch.stack([batch.teacher.head_logits.mean() for batch in batches]).mean()

    def state_dict(self):
        return dict(means=self.means)

    def load_state_dict(self, state):
        self.means = state['means']


@pytest.mark.slow
def test_passes_differ_and_runs_do_not(tiny_data, tmp_path):
    """A run that was stopped within the second pass begins with the first one again."""
    for name, stops in (('whole', []), ('stopped', [True, False])):
        cfg = tiny_config(tiny_data, tmp_path / name, scenario=dict(base=3, increment=1),
                          continual=dict(losses=dict(epochs=dict(type='Epochs'))))
        STOPS.extend(stops)
        if stops:
            with pytest.raises(KeyboardInterrupt):
                run(cfg)
            cfg.resume = True
        run(cfg)
    means = [np.load(tmp_path / name / 'step_1' / 'parts' / 'epochs.npz')['means'] for name in ('whole', 'stopped')]
    assert len(set(means[0])) == 3 and np.array_equal(*means)
    assert_equal_states(state(tmp_path / 'whole', 1), state(tmp_path / 'stopped', 1))
