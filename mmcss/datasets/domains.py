"""The images of a domain, and which of them are test images."""
from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np

from ..scenario import Domains
from ..scenario.partitions import PARTITIONS
from .lists import listed_as, read_names

DomainOf = Callable[[str], Optional[str]]
OF_DATASET = ': '  # between a domain and an image's name


class DomainImages:
    """Selects the images of a step of domains by their names.

    Args:
        rule: See :func:`mmcss.scenario.check_rule`.
        test_share, seed, partition: See :class:`mmcss.scenario.DomainIncremental`.
    """

    def __init__(self, rule: Any, test_share: float = 0.0, seed: int = 0, partition: str = 'once') -> None:
        self.domain_of = domain_reader(rule)
        self.partition = PARTITIONS[partition](test_share, seed)

    def chosen(self, names: Sequence[str], domains: Domains, training: bool, everything: bool = False,
               complete: bool = True) -> np.ndarray:
        """Which images a step sees.

        Args:
            names: Names of all images (:func:`names_of_domains`).
            domains: Those of the step.
            training: Whether to train on them.
            everything: Test on images of future domains as well.
            complete: Whether the step's domains need to have images.

        Returns:
            ``[images]`` bool.

        Raises:
            ValueError: A domain of the step has no image, and this is no
                separate test set, which may lack it.
        """
        domains_of_images = [self.domain_of(name) for name in names]
        known = {domain for domain in domains_of_images if domain is not None}
        absent = [domain for domain in domains.new if domain not in known]
        if absent and complete and (training or self.partition.test_share):
            raise ValueError(f'no image is of the domains {absent}; the rule finds {sorted(known)[:30]} in names such '
                             f'as {names[0] if names else "(no images)"!r}. Mend scenario.domains or scenario.rule.')
        return self.partition.chosen(names, domains_of_images, domains, training, everything)


def names_of_domains(names: Sequence[Sequence[str]], rule: Any, domains: Domains) -> List[List[str]]:
    """The names from which a rule reads the domains of images: if each data set is a domain, they begin with it.

    Args:
        names: For each distinct data set the names of its images (:func:`image_name`).
        rule: See :func:`mmcss.scenario.check_rule`.
        domains: Those of a step.

    Raises:
        ValueError: The numbers of data sets and domains differ.
    """
    if rule != 'dataset':
        return [list(of_dataset) for of_dataset in names]
    order = domains.seen + domains.future
    if len(names) != len(order):
        raise ValueError(f"scenario.rule: 'dataset' makes each data set of a ConcatDataset a domain, in their order, but "
                         f'there are {len(names)} data sets and {len(order)} domains, {list(order)}. List one for each in '
                         'training and test data, or take another rule.')
    return [[f'{domain}{OF_DATASET}{name}' for name in of_dataset] for domain, of_dataset in zip(order, names)]


def domain_reader(rule: Any) -> DomainOf:
    """A function from an image's name (:func:`names_of_domains`) to its domain."""
    if rule == 'dataset':
        return lambda name: name.partition(OF_DATASET)[0]
    if rule == 'folder':
        return lambda name: PurePosixPath(name).parent.name or None
    if 'prefix' in rule:
        return lambda name: PurePosixPath(name).name[:rule['prefix']]
    if 'lists' in rule:
        domains: Dict[str, str] = {}
        for domain, file in rule['lists'].items():
            names = read_names(file)
            twice = sorted(set(names) & set(domains))
            if twice:
                raise ValueError(f'scenario.rule: {file} lists {twice[0]!r}, and so does the list of '
                                 f"'{domains[twice[0]]}' ({len(twice)} such images); list each image in one domain.")
            domains.update(dict.fromkeys(names, domain))
        return lambda name: next((domains[spelling] for spelling in listed_as(name) if spelling in domains), None)
    pattern = re.compile(rule['regex'])
    return lambda name: next((match.group(1) for match in pattern.finditer(name)), None)
