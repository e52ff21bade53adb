"""Influence methods by name."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_type_hints

from gradsift.errors import SettingError
from gradsift.imports import import_object, user_code
from gradsift.influence.base import Influence
from gradsift.influence.conjugate_gradient import ConjugateGradient
from gradsift.influence.datainf import DataInf
from gradsift.influence.ensemble import Ensemble
from gradsift.influence.exact import ExactInfluence
from gradsift.influence.forward import ForwardInfluence
from gradsift.influence.generalized import GeneralizedInfluence
from gradsift.influence.inner_product import InnerProduct
from gradsift.influence.kfac import EKFAC, KFAC
from gradsift.influence.lissa import LiSSA
from gradsift.influence.members import DropoutMasks
from gradsift.influence.tracin import TracIn
from gradsift.ranges import fits


def _dropout_ensemble(count: int = 8, seed: int = 0, **settings: Any) -> Ensemble:
    return Ensemble(members=DropoutMasks(count, seed=seed), **settings)


METHODS: dict[str, Callable[..., Influence]] = {
    "inner_product": InnerProduct,
    "cosine": partial(InnerProduct, cosine=True),
    "tracin": TracIn,
    "dropout_ensemble": _dropout_ensemble,
    "datainf": DataInf,
    "kfac": KFAC,
    "ekfac": EKFAC,
    "lissa": LiSSA,
    "conjugate_gradient": ConjugateGradient,
    "exact": ExactInfluence,
    "forward": ForwardInfluence,
    "generalized": GeneralizedInfluence,
}
"""Name to what makes the method from its settings."""


def get_method(name: str, settings: Mapping[str, Any] | None = None) -> Influence:
    """Makes an influence method.

    Args:
        name: One of :data:`METHODS`, or ``module:Class`` of your own.
        settings: Keyword arguments of its class.

    Returns:
        The method, not fitted.

    Raises:
        SettingError: The name or a setting is unknown.
    """
    make = METHODS.get(name)
    if make is None:
        if ":" not in name:
            raise SettingError(f"unknown method {name!r}: choose among {', '.join(METHODS)}, or give module:Class")
        make = import_object(name, "method")
    _refuse_misfits(name, make, settings or {})
    with user_code(f"method {name!r} does not take these settings"):
        method = make(**(settings or {}))
    if not isinstance(method, Influence):
        raise SettingError(f"method {name!r} is no Influence: derive it from gradsift.influence.Influence")
    return method


def _refuse_misfits(name: str, make: Any, settings: Mapping[str, Any]) -> None:
    """Refuses words in the place of numbers, and the like, by the type hints of a method's class."""
    make = make.func if isinstance(make, partial) else make
    makers = [vars(kind).get("__init__") for kind in reversed(make.__mro__)] if isinstance(make, type) else [make]
    hints: dict[str, Any] = {}
    for maker in makers:
        hints |= get_type_hints(maker) if inspect.isfunction(maker) else {}
    for setting, value in settings.items():
        if not fits(value, hints.get(setting, Any)):
            raise SettingError(
                f"the setting {setting} of the method {name!r} is of the type {hints[setting]}; given {reprlib.repr(value)}"
            )
