import errno
import zipfile

import pytest

from mmcss.engine.disk import named_full_disk


def test_a_full_disk_is_named_and_half_files_go(tmp_path):
    folder = tmp_path / 'step_0'
    folder.mkdir()
    with zipfile.ZipFile(folder / 'epoch_1.pth', 'w') as file:
        file.writestr('a', 'b')
    (folder / 'epoch_2.pth').write_bytes(b'PK half')
    (tmp_path / 'results.json.partial').touch()
    (folder / 'memory.partial' / 'images').mkdir(parents=True)
    with pytest.raises(OSError, match=f'no space left on the disk of {folder} .*epoch_2.pth') as caught:
        with named_full_disk(tmp_path):
            raise OSError(errno.ENOSPC, 'No space left on device')  # mmengine's write names no file
    assert caught.value.errno == errno.ENOSPC
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['epoch_1.pth', 'step_0']


@pytest.mark.parametrize('error', [ValueError('of the config'), OSError(errno.EIO, 'broken'), KeyboardInterrupt()])
def test_other_errors_leave_all_as_it_is(tmp_path, error):
    (tmp_path / 'step_0').mkdir()
    (tmp_path / 'step_0' / 'epoch_2.pth').write_bytes(b'PK half')
    with pytest.raises(type(error)) as caught, named_full_disk(tmp_path):
        raise error
    assert caught.value is error and (tmp_path / 'step_0' / 'epoch_2.pth').exists()
