"""The one way to objects that a user names by import path, and to what their code says when it fails."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradsift.errors import GradsiftError, SettingError

PACKAGE = str(Path(__file__).parent)


def import_object(path: str, what: str) -> Any:
    """Imports an object from ``module:name``; modules of the working directory are found.

    Args:
        path: ``package.module:name``.
        what: What it is for, for the message.

    Returns:
        The object.

    Raises:
        SettingError: There is no such module or name, or the module fails or exits while it is imported.
    """
    module, colon, name = path.partition(":")
    if not colon or not module or module.startswith("."):
        raise SettingError(f"{what} {path!r} is no import path: write module:name, such as my_project.model:make_model")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    with user_code(f"{what} {path!r} cannot be imported"):
        package = module.partition(".")[0]
        if package not in sys.modules and importlib.util.find_spec(package) is None:
            raise SettingError(
                f"{what} {path!r} cannot be imported: No module named {package!r} in the working directory, {Path.cwd()}, "
                "nor where Python looks. Change to the folder that holds it, or name this folder in PYTHONPATH"
            )
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return found


def import_function(path: str, what: str, *arguments: str, **keywords: Any) -> Any:
    """Imports a function and checks that it can be called as it will be.

    Args:
        path: ``package.module:name``.
        what: What it is for, for the message.
        *arguments: Names of the arguments that it will get by position.
        **keywords: Those that it will get by name.

    Returns:
        The function.

    Raises:
        SettingError: It cannot be imported, is no function, or takes other arguments.
    """
    function = import_object(path, what)
    if not callable(function):
        raise SettingError(f"{what} {path!r} is a {type(function).__name__}, a function is needed")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # functions that are written in C need not tell
        return function
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        asked = ", ".join([*arguments, *(f"{name}={value!r}" for name, value in keywords.items())])
        raise SettingError(
            f"{what} {path!r} takes the arguments {signature}, but it is called with ({asked}): {error}"
        ) from error
    return function


@contextmanager
def user_code(what: str) -> Iterator[None]:
    """Turns whatever a user's code raises, also an exit, into an error that says what and where.

    Args:
        what: What has failed, for the message.

    Yields:
        Nothing.

    Raises:
        SettingError: The code has failed; the error is its cause.
    """
    try:
        yield
    except GradsiftError:
        raise
    except (Exception, SystemExit) as error:
        reason = traceback.format_exception_only(error)[-1].strip()
        if isinstance(error, SystemExit):
            reason = f"it calls sys.exit({error.code!r})"
        raise SettingError(f"{what}: {reason}{_place(error)}") from error


def user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of an error that belong to the user's code.

    Args:
        error: What was raised.

    Returns:
        The frames from the first one that lies neither in this package nor in an installed library; empty where all do.
    """
    frames = list(traceback.extract_tb(error.__traceback__))
    own = [place for place, frame in enumerate(frames) if _is_users(frame.filename)]
    return frames[own[0] :] if own else []


def _is_users(file: str) -> bool:
    library = {str(Path(module.__file__).parent) for module in (traceback, importlib) if module.__file__}
    return not (file.startswith(("<frozen ", PACKAGE, *library)) or "site-packages" in file or "dist-packages" in file)


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [frame for frame in user_frames(error) if _is_users(frame.filename)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
