"""What is trained for an entry of a table, and which entries can share a step 0."""
from __future__ import annotations

import copy
import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from mmengine.config import Config

from ..engine.composition import compose
from ..engine.first_step import first_step_training
from ..engine.settings import build_scenario, read_settings
from ..engine.step_config import step_config, training_settings
from ..files import plain
from .table import Entry, Table

# What of a data set's config tells which images a step is trained on, and with which labels.
OF_IMAGES = ('dataset', 'split', 'view', 'listed', 'domains', 'test_share', 'saliency')


@dataclass(frozen=True)
class Job:
    """A run that is to be trained.

    Attributes:
        name: What it is called.
        config: Its config, without ``run.first_step_from``.
        work_dir: Its work_dir.
        first_step: Name of the job that it takes step 0 from, if any.
        entry: What it is for; None for a step 0 that several share.
    """

    name: str
    config: Config
    work_dir: Path
    first_step: Optional[str] = None
    entry: Optional[Entry] = None

    @property
    def digest(self) -> str:
        """Of all that the config says: results of another one are another experiment's."""
        return digest_of(self.config._cfg_dict.to_dict())


def digest_of(node: Any) -> str:
    """A short digest of what JSON can hold."""
    return hashlib.sha256(json.dumps(plain(node), sort_keys=True, default=str).encode()).hexdigest()[:12]


def entry_config(table: Table, entry: Entry) -> Config:
    """The config of an entry."""
    row, options = table.rows[entry.row], dict(table.scenarios[entry.scenario])
    scenario = options.pop('of', entry.scenario)
    path = (row.config or table.config).replace('*', row.method)
    cfg = copy.deepcopy(_composed(path, scenario, row.model or table.model, row.profile))
    for changes in (table.options, options, row.options):
        cfg.merge_from_dict(copy.deepcopy(dict(changes)))
    cfg.merge_from_dict({'randomness.seed': entry.seed})
    cfg.work_dir = str(Path(table.work_dirs) / table.name / str(entry))
    return cfg


@functools.cache
def _composed(path: str, scenario: str, model: Optional[str], profile: Optional[str]) -> Config:
    return compose(path, scenario, model, profile)


def make_jobs(table: Table, entries: Sequence[Entry], others: Sequence[Entry] = ()) -> List[Job]:
    """The runs of entries; those that train step 0 alike take it from one more run, which comes before them.

    Args:
        table: The table.
        entries: What is to be trained.
        others: Further entries of the table, with which a step 0 may be
            shared later on.
    """
    configs = {entry: entry_config(table, entry) for entry in dict.fromkeys([*entries, *others])}
    alike: Dict[str, List[Entry]] = {}
    for entry, config in configs.items():
        alike.setdefault(_first_step_digest(config), []).append(entry)
    jobs: List[Job] = []
    for digest, sharing in alike.items():
        wanted = [entry for entry in sharing if entry in entries]
        first = None
        if wanted and len(sharing) > 1:
            first = _first_step_job(table, digest, [configs[entry] for entry in sharing], sharing[0].scenario)
            jobs.append(first)
        jobs += [Job(str(entry), configs[entry], Path(configs[entry].work_dir), first.name if first else None, entry)
                 for entry in wanted]
    return sorted(jobs, key=lambda job: job.entry is not None)


def _first_step_digest(cfg: Config) -> str:
    """Equal for runs that train step 0 alike; what is only watched there is no difference."""
    settings = read_settings(cfg)
    config = step_config(settings, build_scenario(settings), 0)
    loader = plain(config.train_dataloader)
    training = first_step_training(settings)
    del training['watching']
    return digest_of([training, training_settings(config), config.randomness, {
        **loader, 'dataset': {key: value for key, value in loader['dataset'].items() if key in OF_IMAGES}}])


def _first_step_job(table: Table, digest: str, configs: Sequence[Config], scenario: str) -> Job:
    """A run of step 0 alone, at which whatever later steps of others need is watched."""
    name = f'{scenario}/first_step_{digest[:6]}'
    cfg = copy.deepcopy(configs[0])
    cfg.merge_from_dict({'run.steps': '0'})
    cfg.work_dir = str(Path(table.work_dirs) / table.name / name)
    losses: Dict[str, Any] = {}
    for config in configs:
        settings = read_settings(config)
        method, watching = settings.method(0), first_step_training(settings)['watching']
        losses.update({part: plain(method.losses[part]) for part in watching})
    if losses:
        cfg.merge_from_dict(dict(continual=dict(losses=losses)))
    return Job(name, cfg, Path(cfg.work_dir))
