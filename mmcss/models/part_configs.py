"""Configs of the components of a method: which class they name, and whether it can be built from them."""
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
    """Registered classes of one kind, of which a key of a config takes one.

    Args:
        registry: Where they are registered.
        base: What they inherit from.
        kind: What one is called in errors, such as 'a part'.
        passed: Arguments that are no settings: the caller passes them.
        fits: A further condition on the classes, or None.
    """

    registry: Registry
    base: Type[T]
    kind: str
    passed: Tuple[str, ...] = ()
    fits: Optional[Callable[[type], bool]] = None

    def members(self) -> Dict[str, Type[T]]:
        """All of them by name, those of plug-ins too."""
        classes: Dict[str, Type[T]] = {}
        registry: Optional[Registry] = self.registry
        while registry is not None:
            for name, cls in registry.module_dict.items():
                if isinstance(cls, type) and issubclass(cls, self.base) and self._fits(cls):
                    classes.setdefault(name, cls)
            registry = registry.parent
        return classes

    def check(self, config: Any, place: str) -> Type[T]:
        """Make sure that a config can be built, and build nothing.

        Args:
            config: A dict with ``type`` and settings.
            place: Its full path, for errors.

        Returns:
            The class that it names.

        Raises:
            ValueError: It names none of the family, or gives it a setting that
                is unknown, missing, or of the wrong kind.
        """
        cls, settings = self.class_of(config, place), _settings(config)
        for name in self.passed:
            if name in settings:
                raise ValueError(f'{place}.{name}: got {short(plain(settings[name]), 200)}, but the model and the step determine '
                                 'it; remove it.')
        check_arguments(cls, settings, place, self.passed, owners=self._owners)
        return cls

    def build(self, config: Any, place: str, **passed: Any) -> T:
        """Check a config and build what it names; ``passed`` are its arguments that are no settings."""
        return make(self.check(config, place), _settings(config), place, **passed)

    def _fits(self, cls: type) -> bool:
        return self.fits is None or self.fits(cls)

    def class_of(self, config: Any, place: str = 'type') -> Type[T]:
        """The class that a config names, see :meth:`check`."""
        if not isinstance(config, Mapping) or 'type' not in config:
            raise ValueError(f'{place}: got {short(plain(config), 200)}, expected a dict with type; valid are '
                             f'{", ".join(self.members())}.')
        name = config['type']
        cls: Any = name if isinstance(name, type) else self._registered(name, place, config.get('_scope_'))
        if not (isinstance(cls, type) and issubclass(cls, self.base) and self._fits(cls)):
            valid = self.members()  # a walk through the registry, which errors alone need
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
        except Exception:  # a name that is none, such as '.x', fails in the registry in as many ways
            return None

    def _owners(self, setting: str) -> List[str]:
        """Those that have a setting of that name."""
        members: Mapping[str, type] = self.members()
        return [name for name, cls in members.items() if setting in arguments_of(cls)]


def _settings(config: Mapping[str, Any]) -> Dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ('type', '_scope_')}


def _is_classifier(cls: type) -> bool:
    # Those of MMSegmentation that take both are heads.
    return ({'in_channels', 'num_classes'} <= set(arguments_of(cls)) and not issubclass(cls, BaseDecodeHead)
            and not cls.__module__.startswith('mmseg.'))


PARTS = Family(MODELS, Part, 'a part')
# The number of old classes, and the weight of the loss whose place it takes.
DECODE_LOSSES = Family(MODELS, DecodeLoss, 'a DecodeLoss', ('num_old', 'loss_weight'))
# What the decode head has, and the sizes of the steps so far for one that grows by steps.
CLASSIFIERS = Family(MODELS, nn.Module, 'a classifier (of in_channels and num_classes)',
                     ('in_channels', 'num_classes', 'steps'), _is_classifier)


def classifier_config(classifier: Any) -> Any:
    """``continual.classifier`` as a dict; it may be the name of the type alone."""
    return dict(type=classifier) if isinstance(classifier, (str, type)) else classifier


def check_losses(losses: Any, place: str) -> None:
    """Make sure that the continual losses can be built.

    Args:
        losses: Config of each by name, or the part itself; None for one that
            is taken out.
        place: Their full path, for errors.

    Raises:
        ValueError: One can't be built, see :meth:`Family.check`; or there is
            none of the name that a setting is given for.
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
