from tests.memory.replay.streams import runner, stream_dir  # noqa: F401  fixtures
