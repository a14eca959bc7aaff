"""A run writes its report."""
import mmcss.report
from mmcss.engine import ContinualRunner
from mmcss.files import read_json
from mmcss.report import read_runs, write_report
from tests.tiny import tiny_config


def test_a_run_ends_with_its_report(tiny_data, tmp_path, capsys, monkeypatch):
    cfg = tiny_config(tiny_data, tmp_path, run=dict(steps='0', report=True), train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1))
    ContinualRunner.from_cfg(cfg).train()
    page = tmp_path / 'report' / 'report.html'
    assert f'report: {page}\n' in capsys.readouterr().out
    step, = read_runs([(None, tmp_path)])[0].steps
    assert step.classes == ('background', 'red', 'green') and step.colours[1] == (255, 0, 0)
    assert step.confusion.sum() > 0 and step.training[-1]['step'] == 2 and 'StepDataset' in step.config
    assert step.seconds > 0 and {'mmcss', 'torch'} <= set(step.versions)
    assert read_json(tmp_path / 'step_0' / 'step.json')['seconds'] == step.seconds
    assert 'confusion' not in read_json(tmp_path / 'results.json')['steps'][0]

    shown = write_report([(None, tmp_path)], tmp_path / 'shown', images=2).read_text()
    assert shown.count('<img src="data:') == 2 * 3  # image, truth, step 0

    def fail(*_):
        raise OSError('the disk is gone')

    cfg.resume = True
    page.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(mmcss.report, 'write_report', fail)
        assert len(ContinualRunner.from_cfg(cfg).train()['steps']) == 1
    assert (f'note: the report could not be written (OSError: the disk is gone); what was trained is whole. Try again with '
            f'mmcss report {tmp_path}, or leave it out by run.report=False.') in capsys.readouterr().out
    cfg.run.report = False
    ContinualRunner.from_cfg(cfg).train()
    assert 'report' not in capsys.readouterr().out and not page.exists()
