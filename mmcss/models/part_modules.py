"""Modules that parts add to a student, or replace modules of the student by."""
from __future__ import annotations

from typing import Dict, Mapping

from mmengine.model import ModuleDict
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from ..parts import Part
from .taps import check_modules

# The student's submodule that holds them, and so the prefix of their tensors in checkpoints and hand-overs.
PART_MODULES = 'part_modules'


def add_part_modules(model: EncoderDecoder, parts: Mapping[str, Part]) -> Dict[str, nn.Module]:
    """Add the modules of parts (by name) to a segmentor; return those that are to replace its modules, by their names.

    Raises:
        ValueError: A part names a module that the segmentor does not have.
    """
    stock = {name for name, _ in model.named_modules()}
    added: Dict[str, ModuleDict] = {}
    replacements: Dict[str, nn.Module] = {}
    for part_name, part in parts.items():
        modules = part.modules(model)
        check_modules(model, [name for name in modules if '.' in name], f"the part '{part_name}' (modules)")
        replacements.update({name: module for name, module in modules.items() if name in stock})
        new = {name: module for name, module in modules.items() if name not in stock}
        if new:
            added[part_name] = ModuleDict(new)
    if added:
        model.add_module(PART_MODULES, ModuleDict(added))
    return replacements


def replace_modules(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Replace the modules of these names."""
    for name, module in modules.items():
        owner, _, last = name.rpartition('.')
        setattr(model.get_submodule(owner), last, module)


def is_part_tensor(name: str) -> bool:
    """Whether a tensor of that name belongs to a module of a part."""
    return name.startswith(f'{PART_MODULES}.')


def part_tensors(state: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """The tensors of a state dict that belong to the modules of parts."""
    return {name: value for name, value in state.items() if is_part_tensor(name)}


def stock_tensors(state: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """All other tensors of a state dict."""
    return {name: value for name, value in state.items() if not is_part_tensor(name)}
