"""Loads the plugin with the fixtures. It starts a server, and gives each test a sandbox on it."""

pytest_plugins = ["translation_client.testing"]
