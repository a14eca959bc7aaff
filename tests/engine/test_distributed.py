"""Processes that stop together; here they are threads that meet."""
import threading
from types import SimpleNamespace

import pytest

from mmcss.engine import distributed
from mmcss.engine.distributed import agree, check_shared, together


class Meeting:
    """Threads in place of processes; one that waits in vain fails after a second."""

    def __init__(self, number):
        self.number, self.boxes = number, [None] * number
        self.barrier = threading.Barrier(number, timeout=1)
        self.own = threading.local()

    def gather(self, value):
        self.boxes[self.own.rank] = value
        self.barrier.wait()
        found = list(self.boxes)
        self.barrier.wait()
        return found

    def broadcast(self, values):
        values[:] = self.gather(list(values))[0]

    def hold(self, job):
        """What the job, given the rank, returned or raised in each."""
        ends = [None] * self.number

        def run(rank):
            self.own.rank = rank
            try:
                ends[rank] = job(rank)
            except Exception as error:
                ends[rank] = error

        threads = [threading.Thread(target=run, args=(rank, )) for rank in range(self.number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ends


@pytest.fixture
def meeting(monkeypatch):
    met = Meeting(3)
    monkeypatch.setattr(distributed, 'all_gather_object', met.gather)
    monkeypatch.setattr(distributed, 'broadcast_object_list', met.broadcast)
    monkeypatch.setattr(distributed, 'get_world_size', lambda: met.number)
    monkeypatch.setattr(distributed, 'is_main_process', lambda: met.own.rank == 0)
    monkeypatch.setattr(distributed, 'socket', SimpleNamespace(gethostname=lambda: f'machine{met.own.rank}'))
    return met


def fail(rank, failing, error):
    if rank in failing:
        raise error
    return rank


def told(ends):
    return [f'{type(end).__name__}: {end}' if isinstance(end, Exception) else end for end in ends]


def test_each_gets_its_own_result(meeting):
    assert meeting.hold(lambda rank: together(lambda: rank)) == [0, 1, 2]


@pytest.mark.parametrize('error, text', [
    (ValueError('bad'), 'ValueError: process 1 on machine1: bad'),
    (FileNotFoundError('gone'), 'FileNotFoundError: process 1 on machine1: gone'),
    (KeyError('key'), "RuntimeError: process 1 on machine1: KeyError: 'key'"),
    (ValueError(''), 'ValueError: process 1 on machine1: ')])
def test_what_stops_one_stops_all(meeting, error, text):
    ends = meeting.hold(lambda rank: together(lambda: fail(rank, [1], error)))
    assert told([ends[0], ends[2]]) == [text, text] and ends[1] is error


def test_each_raises_its_own_error(meeting):
    ends = meeting.hold(lambda rank: together(lambda: fail(rank, [0, 1, 2], ValueError(f'of {rank}'))))
    assert told(ends) == ['ValueError: of 0', 'ValueError: of 1', 'ValueError: of 2']


def test_one_that_fails_between_jobs_is_heard_of_in_the_next(meeting):
    """The inner exchange of the others is met by the outer one of the process that failed."""
    def job(rank):
        together(lambda: rank)
        fail(rank, [2], ValueError('list is missing'))
        agree('images', 5, 'Copy them.')
        return together(lambda: rank)

    ends = meeting.hold(lambda rank: together(lambda: job(rank)))
    assert told(ends) == ['ValueError: process 2 on machine2: list is missing'] * 2 + ['ValueError: list is missing']


def test_an_error_of_an_inner_job_is_told_once(meeting):
    def job(rank):
        try:
            together(lambda: fail(rank, [0], FileNotFoundError('gone')))
        except FileNotFoundError:
            pass  # it is not needed, in any process
        return together(lambda: rank)

    assert meeting.hold(lambda rank: together(lambda: job(rank))) == [0, 1, 2]
    ends = meeting.hold(lambda rank: together(lambda: together(lambda: fail(rank, [0], ValueError('bad')))))
    assert told(ends) == ['ValueError: bad'] + ['ValueError: process 0 on machine0: bad'] * 2


def test_processes_that_found_different_things(meeting):
    assert meeting.hold(lambda rank: agree('counts', 7, '')) == [None] * 3
    ends = meeting.hold(lambda rank: together(lambda: agree('counts', 8 if rank == 1 else 7, 'Copy the data.')))
    assert told(ends) == ['ValueError: counts differ between processes: 7 in process 0 on machine0, 8 in process 1 on '
                          'machine1. Copy the data.'] * 3


def test_a_shared_folder(meeting, tmp_path):
    assert meeting.hold(lambda rank: check_shared(tmp_path / 'new' / 'work')) == [None] * 3
    assert list((tmp_path / 'new' / 'work').iterdir()) == []


def test_folders_of_their_own(meeting, tmp_path):
    ends = meeting.hold(lambda rank: check_shared(tmp_path / str(rank % 2), patience=0.2))
    assert all(isinstance(end, ValueError) for end in ends)
    assert f'process 1 on machine1 ({tmp_path / "1"}). Give' in str(ends[0]) and 'all machines share' in str(ends[2])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_comes_late(meeting, tmp_path, monkeypatch):
    """Network file systems show new files late."""
    (tmp_path / 'shown').mkdir()
    listing = distributed.os.listdir

    def late(path):
        if not (tmp_path / 'link').exists():
            (tmp_path / 'link').symlink_to(tmp_path / 'shown')
        return listing(path)

    monkeypatch.setattr(distributed.os, 'listdir', late)
    names = ['shown', 'shown', 'link']
    assert meeting.hold(lambda rank: check_shared(tmp_path / names[rank])) in ([None] * 3, )


def test_a_folder_that_can_not_be_written(meeting, tmp_path):
    (tmp_path / 'file').touch()
    ends = meeting.hold(lambda rank: check_shared(tmp_path / 'file' / 'work'))
    assert all('process 0' in text or text.startswith('NotADirectoryError') for text in told(ends)), told(ends)


def test_one_process_asks_nobody(tmp_path):
    check_shared(tmp_path / 'work')
    assert not (tmp_path / 'work').exists()
    assert together(lambda: 4) == 4
    with pytest.raises(KeyError, match='own'):
        together(lambda: fail(0, [0], KeyError('own')))
