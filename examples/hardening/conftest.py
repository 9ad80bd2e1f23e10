"""The plugin that gives each test a sandbox of its own on a server that it starts."""

pytest_plugins = ["translation_client.testing"]
