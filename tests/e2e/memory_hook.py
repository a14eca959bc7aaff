"""Writes down what each process of an online step remembers."""
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmcss.files import write_json
from mmcss.hooks import MemoryHook


@HOOKS.register_module(force=True)
class WriteMemoryHook(Hook):
    """At the end of a step, into its folder: the images, the counts, and how often new images were trained on."""

    priority = 'LOWEST'

    def __init__(self):
        self.trained, self.loaded = [], 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        samples = data_batch['data_samples']
        self.trained += [sample.sample_idx for sample in samples if 'sample_idx' in sample]
        self.loaded += len(samples)

    def after_train(self, runner):
        for hook in runner.hooks:
            if isinstance(hook, MemoryHook) and hook.replay is not None:
                memory = hook.buffer
                write_json(Path(runner.work_dir) / f'memory_of_{get_rank()}.json', dict(
                    kept=[one.exemplar.name for one in memory.chosen()], images_seen=memory.images_seen,
                    seen=memory.classes_seen.tolist(), confidence=hook.replay.confidence is not None and
                    hook.replay.confidence.tolist(), trained=self.trained, loaded=self.loaded,
                    images=runner.train_dataloader.dataset.num_images))
        self.trained, self.loaded = [], 0
