"""Modules that parts bring into a student, or put in places of its own."""
from __future__ import annotations

from typing import Dict, Mapping

from mmengine.model import ModuleDict
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from ..parts import Part
from .taps import check_modules

# Where they are in a student, and what the names of their tensors start with in checkpoints and hand-overs.
PART_MODULES = 'part_modules'


def bring(model: EncoderDecoder, parts: Mapping[str, Part]) -> Dict[str, nn.Module]:
    """Give a segmentor what its parts bring.

    Args:
        model: The segmentor.
        parts: Its parts by name.

    Returns:
        What is to take the place of modules of the segmentor, by their names.

    Raises:
        ValueError: A part means a module that is not there.
    """
    own = {name for name, _ in model.named_modules()}
    brought: Dict[str, ModuleDict] = {}
    places: Dict[str, nn.Module] = {}
    for part_name, part in parts.items():
        modules = part.modules(model)
        check_modules(model, [name for name in modules if '.' in name], f"the part '{part_name}' (modules)")
        places.update({name: module for name, module in modules.items() if name in own})
        others = {name: module for name, module in modules.items() if name not in own}
        if others:
            brought[part_name] = ModuleDict(others)
    if brought:
        model.add_module(PART_MODULES, ModuleDict(brought))
    return places


def put(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Put modules in the places of those of their names."""
    for name, module in modules.items():
        owner, _, last = name.rpartition('.')
        setattr(model.get_submodule(owner), last, module)


def of_parts(state: Mapping[str, Tensor], wanted: bool = True) -> Dict[str, Tensor]:
    """The tensors of a state dict that are of modules which parts brought, or are not."""
    return {name: value for name, value in state.items() if name.startswith(f'{PART_MODULES}.') == wanted}
