"""Configs of the components of a method: the classes that they name, and checks of their settings."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Generic, List, Mapping, Optional, Tuple, Type, TypeVar

from mmengine.registry import Registry
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import nn

from ..arguments import arguments_of, check_arguments, check_value, did_you_mean, make
from ..files import plain, short
from ..losses.decode_loss import DecodeLoss
from ..parts import Part

T = TypeVar('T')


@dataclass(frozen=True)
class Family(Generic[T]):
    """The registered classes that a key of a config may name.

    Args:
        registry: Where they are registered.
        base: Their base class.
        kind: Their name in errors, such as 'a part'.
        passed: Arguments that are no settings: the caller passes them.
        fits: A further condition on the classes.
    """

    registry: Registry
    base: Type[T]
    kind: str
    passed: Tuple[str, ...] = ()
    fits: Optional[Callable[[type], bool]] = None

    def members(self) -> Dict[str, Type[T]]:
        """All of them by name, including those of plug-ins."""
        classes: Dict[str, Type[T]] = {}
        registry: Optional[Registry] = self.registry
        while registry is not None:
            for name, cls in registry.module_dict.items():
                if self._has(cls):
                    classes.setdefault(name, cls)
            registry = registry.parent
        return classes

    def check(self, config: Any, place: str) -> Type[T]:
        """Check a config without building anything, and return the class that it names.

        Args:
            config: A dict with ``type`` and settings.
            place: Its full path, for errors.

        Raises:
            ValueError: It names no class of the family, or a setting is
                unknown, missing, or of the wrong kind.
        """
        cls, settings = self.class_of(config, place), _settings(config)
        for name in self.passed:
            if name in settings:
                raise ValueError(f'{place}.{name}: got {short(plain(settings[name]), 200)}, but the model and the step determine '
                                 'it; remove it.')
        check_arguments(cls, settings, place, self.passed, owners=self._owners)
        return cls

    def build(self, config: Any, place: str, **passed: Any) -> T:
        """Check a config and build it with the ``passed`` arguments."""
        return make(self.check(config, place), _settings(config), place, **passed)

    def _has(self, cls: Any) -> bool:
        return isinstance(cls, type) and issubclass(cls, self.base) and (self.fits is None or self.fits(cls))

    def class_of(self, config: Any, place: str = 'type') -> Type[T]:
        """The class that a config names, see :meth:`check`."""
        if not isinstance(config, Mapping) or 'type' not in config:
            raise ValueError(f'{place}: got {short(plain(config), 200)}, expected a dict with type; valid are '
                             f'{", ".join(self.members())}.')
        name = config['type']
        cls: Any = name if isinstance(name, type) else self._registered(name, place, config.get('_scope_'))
        if not self._has(cls):
            valid = self.members()
            problem = f'is not {self.kind}' if cls is not None else 'is not registered'
            got = getattr(name, '__name__', name)
            raise ValueError(f'{place}.type: got {got!r}, which {problem}{did_you_mean(name, valid)}; '
                             f'valid are {", ".join(valid)}, and those of custom_imports.')
        return cls

    def _registered(self, name: Any, place: str, scope: Optional[str]) -> Any:
        check_value(f'{place}.type', name, str)
        try:
            with self.registry.switch_scope_and_registry(scope) as registry:
                return registry.get(name)
        except Exception:  # names such as '.x' fail in the registry in various ways
            return None

    def _owners(self, setting: str) -> List[str]:
        """Names of the classes that have a setting of that name."""
        members: Mapping[str, type] = self.members()
        return [name for name, cls in members.items() if setting in arguments_of(cls)]


def _settings(config: Mapping[str, Any]) -> Dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ('type', '_scope_')}


def _is_classifier(cls: type) -> bool:
    # MMSegmentation's classes that take both are heads.
    return ({'in_channels', 'num_classes'} <= set(arguments_of(cls)) and not issubclass(cls, BaseDecodeHead)
            and not cls.__module__.startswith('mmseg.'))


PARTS = Family(MODELS, Part, 'a part')
# The step determines the number of old classes, the replaced loss its weight.
DECODE_LOSSES = Family(MODELS, DecodeLoss, 'a DecodeLoss', ('num_old', 'loss_weight'))
# The decode head determines the channels, the scenario the sizes of the steps so far.
CLASSIFIERS = Family(MODELS, nn.Module, 'a classifier (of in_channels and num_classes)',
                     ('in_channels', 'num_classes', 'steps'), _is_classifier)


def classifier_config(classifier: Any) -> Any:
    """``continual.classifier`` as a dict, which may be just the type or its name."""
    return dict(type=classifier) if isinstance(classifier, (str, type)) else classifier


def check_losses(losses: Any, place: str) -> None:
    """Check the configs of the continual losses.

    Args:
        losses: By name the config, or the part itself, or None for a loss
            that is removed.
        place: Their full path, for errors.

    Raises:
        ValueError: See :meth:`Family.check`; or a config without type belongs
            to no loss of its name.
    """
    if not isinstance(losses, Mapping):
        raise ValueError(f'{place}: got {short(plain(losses), 200)}, expected a dict with the config of each loss by its name.')
    if 'targets' in losses:
        raise ValueError(f"{place}: got a loss called 'targets', which is the name of another part; rename the loss.")
    configs = {name: config for name, config in losses.items() if config is not None and not isinstance(config, Part)}
    named = [name for name, config in losses.items() if name not in configs or isinstance(config, Mapping) and 'type' in config]
    for name, config in configs.items():
        near = did_you_mean(name, named)
        if name not in named and near:
            raise ValueError(f'{place}.{name}: got {short(plain(config), 200)}, which has no type, and there is no loss of '
                             f'this name{near} A new loss needs a type.')
    for name, config in configs.items():
        PARTS.check(config, f'{place}.{name}')
