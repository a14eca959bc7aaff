"""Which files a trained step is read from, and what they say."""
import shutil

import pytest
from mmengine.config import Config

from mmcss.apis.steps import find_step, read_step
from mmcss.models import load_hand_over, save_hand_over


def test_the_last_trained_step_by_default(work_dir):
    last = work_dir / 'step_1'
    assert find_step(work_dir) == find_step(str(work_dir), 1) == (last / 'deploy.py', last / 'step_1.pth')
    assert find_step(work_dir, 0).hand_over == work_dir / 'step_0' / 'step_0.pth'
    assert find_step(last / 'step_1.pth') == find_step(work_dir)


def test_files_that_were_exported(work_dir, tmp_path):
    for source, name in zip(find_step(work_dir), ('boats.py', 'boats.pth')):
        shutil.copy(source, tmp_path / name)
    assert find_step(tmp_path / 'boats.pth') == (tmp_path / 'boats.py', tmp_path / 'boats.pth')


def test_what_is_not_there(work_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'has no trained step 2; the trained ones are 0, 1\. Choose one'):
        find_step(work_dir, 2)
    with pytest.raises(FileNotFoundError, match='holds no step_k with deploy.py'):
        find_step(tmp_path / 'missing')
    with pytest.raises(ValueError, match=r'step: got 1 beside .*step_1\.pth, which is the file of one step'):
        find_step(work_dir / 'step_1' / 'step_1.pth', 1)
    shutil.copy(work_dir / 'step_1' / 'step_1.pth', tmp_path)
    with pytest.raises(FileNotFoundError, match=r'has no config beside it, expected deploy\.py .* or step_1\.py'):
        find_step(tmp_path / 'step_1.pth')


def test_what_is_read(work_dir):
    step = read_step(find_step(work_dir))
    assert step.meta == dict(classes=['background', 'white', 'blue', 'red'], label_values=[0, 4, 3, 1],
                             palette=[[0, 0, 0], [255, 255, 255], [0, 0, 255], [255, 0, 0]])


def without_values(work_dir, folder, **dataset):
    """A step as earlier versions left it."""
    files = find_step(shutil.copytree(work_dir, folder / 'run'))
    config = Config.fromfile(files.config)
    config.pop('label_values')
    config.test_dataloader.dataset.update(dataset)
    config.dump(str(files.config))
    return files


def test_label_values_of_a_config_without_them(work_dir, tmp_path):
    assert read_step(without_values(work_dir, tmp_path)).meta['label_values'] == [0, 4, 3, 1]


def test_label_values_that_are_nowhere(work_dir, tmp_path):
    files = without_values(work_dir, tmp_path, metainfo=None)
    assert read_step(files).meta['label_values'] == [0, 1, 2, 3]


def test_a_step_0_of_stock_mmsegmentation_has_some_colours(work_dir, tmp_path):
    files = find_step(shutil.copytree(work_dir, tmp_path / 'run'))
    save_hand_over(files.hand_over, load_hand_over(files.hand_over)['state_dict'], dict(classes=['background', 'a', 'b', 'c']))
    palette = read_step(files).meta['palette']
    assert palette[0] == [0, 0, 0] and len({tuple(colour) for colour in palette}) == 4
