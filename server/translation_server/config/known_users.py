"""The users of the settings, and their passwords where these are known."""

from collections.abc import Mapping

from translation_server.config.settings import Settings, load_settings
from translation_server.config.users import one_user, read_users


def known_users(settings: Settings) -> tuple[Mapping[str, str], Mapping[str, str]] | None:
    """Returns the hashes of the passwords, and the known passwords; None for the hashes if no one needs a password."""
    if settings.auth == "off":
        return None
    if settings.users_file:
        return read_users(settings.users_file), {}
    return one_user(*settings.credentials), dict([settings.credentials])


def with_password(settings: Settings) -> Settings:
    """Returns the settings with the password that its file holds now, if there is such a file."""
    if settings.api_password_file is None or settings.users_file is not None:
        return settings
    return load_settings(api_username=settings.api_username, api_password_file=settings.api_password_file)
