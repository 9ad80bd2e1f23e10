"""The settings of sandboxes whose users have set nothing, from the server's settings and the files that these name."""

from translation_server.config.fault_files import read_faults
from translation_server.config.history_files import HistoryFile
from translation_server.config.settings import Settings, SettingsError
from translation_server.core.delays import Uniform
from translation_server.core.sandbox import SandboxSettings


def read_sandbox_defaults(settings: Settings) -> SandboxSettings:
    """Returns the settings of users who have set nothing.

    Raises:
        SettingsError: the settings do not go together.
        FaultsError: the file of fault rules is unusable.
        HistoryError: the file of durations is unusable.
    """
    faults = read_faults(settings.faults) if settings.faults else ()
    if settings.sandbox == "off" and (settings.scenario or faults):
        raise SettingsError("SANDBOX=off: must be on while SCENARIO or FAULTS is set")
    delay = settings.delay.delays() if isinstance(settings.delay, HistoryFile) else settings.delay
    return SandboxSettings(
        delay=delay or Uniform(settings.min_delay, settings.max_delay),
        per_video_second=settings.per_video_second,
        error_probability=settings.error_probability,
        seed=settings.seed,
        hints=settings.hints,
        poll_cost=settings.poll_cost,
        scenario=settings.scenario,
        faults=faults,
    )
