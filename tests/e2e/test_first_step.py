"""A step 0 that was trained elsewhere: left unfinished, exchanged for another one, and of other images."""
import shutil
import zipfile

import pytest

from mmcss.engine import ContinualRunner
from mmcss.engine.folders import StepFolder
from tests.e2e.running import assert_equal_states, run, state
from tests.tiny import make_data, tiny_config

MEMORY = dict(memory=dict(size=4))


@pytest.fixture(scope='module')
def source(tiny_data, tmp_path_factory):
    """A trained step 0 of no method."""
    folder = tmp_path_factory.mktemp('source')
    run(tiny_config(tiny_data, folder), steps='0')
    return folder


@pytest.fixture(scope='module')
def other_source(tiny_data, tmp_path_factory):
    """Another one."""
    folder = tmp_path_factory.mktemp('other')
    run(tiny_config(tiny_data, folder, randomness=dict(seed=3)), steps='0')
    return folder


@pytest.mark.parametrize('again', [{}, 'with the option'])
def test_one_that_was_stopped_before_its_memory_was_chosen_is_finished(source, tiny_data, tmp_path, monkeypatch, again):
    cfg = tiny_config(tiny_data, tmp_path, continual=MEMORY)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('mmcss.hooks.memory_hook.MemoryHook.finish_step', stop)
        with pytest.raises(KeyboardInterrupt):
            run(cfg, steps='0-1', first_step_from=str(source))
    folder = StepFolder(tmp_path, 0)
    assert folder.unfinished and not folder.memory.exists()
    ContinualRunner.from_cfg(dict_with(cfg, steps='0')).test()  # which finishes nothing
    assert folder.unfinished and folder.result.is_file()
    cfg.resume = True
    results = run(cfg, steps='0-1', **(dict(first_step_from=str(source)) if again else {}))
    assert folder.memory.is_file() and not folder.unfinished and len(results['steps']) == 2
    assert_equal_states(state(source, 0), state(tmp_path, 0))


def dict_with(cfg, **options):
    cfg = cfg.copy()
    cfg.run = dict(cfg.run, **options)
    return cfg


def test_another_one_takes_its_place(source, other_source, tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path)
    run(cfg, steps='1', first_step_from=str(source))
    assert_equal_states(state(source, 0), state(tmp_path, 0))
    written = (tmp_path / 'step_0' / 'step_0.pth').stat().st_mtime_ns
    run(cfg, steps='1', first_step_from=str(source), overwrite=True)
    assert (tmp_path / 'step_0' / 'step_0.pth').stat().st_mtime_ns == written  # it is there already
    with pytest.raises(ValueError, match=r'holds finished steps that this run would train anew: \[0, 1\]'):
        run(cfg, steps='1', first_step_from=str(other_source))
    resumed = cfg.copy()
    resumed.resume = True
    with pytest.raises(ValueError, match='differs from the step 0 of'):
        run(resumed, steps='1', first_step_from=str(other_source))
    run(cfg, steps='1', first_step_from=str(other_source), overwrite=True)
    assert_equal_states(state(other_source, 0), state(tmp_path, 0))
    assert len(run(resumed)['steps']) == 3


def test_images_of_another_draw_are_refused(tiny_data, tmp_path):
    """They would be tested on what step 0 was trained on."""
    scenario = dict(type='DomainIncremental', domains=['00', '01'], rule=dict(prefix=2), test_share=.5)

    def config(name, **changes):
        cfg = tiny_config(tiny_data, tmp_path / name, scenario=dict(scenario, **changes), continual={})
        cfg.test_dataloader.dataset.data_prefix = cfg.train_dataloader.dataset.data_prefix
        return cfg

    run(config('one'), steps='0')
    with pytest.raises(ValueError, match="was trained on images that were chosen by .*'seed': 0.* are by .*'seed': 1"):
        run(config('two', seed=1), first_step_from=str(tmp_path / 'one'))
    resumed = config('one', seed=1)
    resumed.resume = True
    with pytest.raises(ValueError, match=r"another scenario or method: \['images'\]"):
        run(resumed)


def test_tests_need_no_training_data(source, tmp_path):
    data = make_data(tmp_path / 'data')
    shutil.copytree(source, tmp_path / 'run')
    cfg = tiny_config(data, tmp_path / 'run')
    before = (tmp_path / 'run' / 'results.json').read_text()
    shutil.rmtree(data / 'images' / 'train')
    shutil.rmtree(data / 'labels' / 'train')
    ContinualRunner.from_cfg(dict_with(cfg, steps='0')).test()
    assert (tmp_path / 'run' / 'results.json').read_text() == before


def test_a_checkpoint_that_was_written_to_another_folder_is_found(tmp_path):
    folder = StepFolder(tmp_path, 0)
    folder.begin({})
    with zipfile.ZipFile(tmp_path / 'epoch_2.pth', 'w') as file:
        file.writestr('a', 'b')
    (folder.path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    assert folder.checkpoint() == tmp_path / 'epoch_2.pth'
    shutil.copy(tmp_path / 'epoch_2.pth', folder.path)
    assert folder.checkpoint() == folder.path / 'epoch_2.pth'  # a moved folder's own comes first
