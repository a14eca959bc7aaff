"""Configs and tools that the package brings along, in the folder .mim as all packages of OpenMMLab have it."""
from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ..arguments import did_you_mean
from ..files import PathLike
from .config_nodes import walk, with_settings

OWN = 'mmcss::'  # how MMEngine names a config of this package
PACKAGED = Path(__file__).resolve().parents[1] / '.mim'


def config_path(path: PathLike) -> Path:
    """The path of a config file; that of a packaged one for 'mmcss::' and its place in configs.

    Raises:
        ValueError: There is no such packaged config; names the nearest.
    """
    if not str(path).startswith(OWN):
        return Path(path)
    name, folder = str(path).removeprefix(OWN), PACKAGED / 'configs'
    if not (folder / name).is_file():
        names = sorted(str(file.relative_to(folder)) for file in folder.glob('*/*.py'))
        raise ValueError(f'there is no config {name} in {folder}{did_you_mean(name, names)}')
    return (folder / name).resolve()


def without_own_scope(cfg: Config) -> Config:
    """A config whose types are looked up where mmcss registers: among MMSegmentation's.

    In what is inherited from 'mmcss::...' MMEngine notes the package as the scope of each type.
    """
    scope = OWN.removesuffix('::')
    if all(node.get('_scope_') != scope for node in walk(cfg._cfg_dict)):
        return cfg
    settings = cfg._cfg_dict.to_dict()
    for node in walk(settings):
        if node.get('_scope_') == scope:
            del node['_scope_']
    return with_settings(cfg, settings)
