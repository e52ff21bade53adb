"""The state of a recorder, as it is stored in a training's checkpoint and checked when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradsift.data import Samples
from gradsift.errors import SettingError
from gradsift.trajectory.identity import DataIdentity
from gradsift.trajectory.recording import Recording

STATE_VERSION = 1
"""Form of the state; a later form is refused."""


def checked_state(
    state: Mapping[str, Any], settings: Mapping[str, Any], samples: Samples, data: DataIdentity
) -> Recording:
    """What a state holds, once it is known to belong here.

    Args:
        state: The state.
        settings: Settings of the recorder that is to go on.
        samples: Its data set.
        data: What the data set is recognised by.

    Returns:
        The recording.

    Raises:
        SettingError: It is no state of a recorder, or of one with other settings.
        DataError: It is of another data set, or of the same one in another order.
    """
    if not isinstance(state, Mapping) or not {"version", "settings", "data", "recording"} <= state.keys():
        raise SettingError("this is no state of a Recorder: load what Recorder.state_dict() gave")
    if state["version"] != STATE_VERSION:
        raise SettingError(
            f"the recorder's state has the form {state['version']!r}, this version of gradsift reads {STATE_VERSION}: "
            "resume with the version that wrote it, or start the training again"
        )
    for name, value in settings.items():
        if state["settings"].get(name) != value:
            raise SettingError(
                f"the recorder's state was recorded with {name}={state['settings'].get(name)!r}, this Recorder has "
                f"{name}={value!r}: make it with the same settings"
            )
    stored = DataIdentity.from_dict(state["data"])
    if stored is not None and (stored.fingerprint is not None or stored.size != data.size or stored != data):
        stored.check(samples, data.fingerprint, "the recorder's state")
    try:
        return Recording.from_state(len(samples), state["recording"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingError(f"the recorder's state is damaged ({error}): resume from another checkpoint") from error
