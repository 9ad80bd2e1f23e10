"""The server for `uvicorn main:app --http main:http`, with the settings of `.env` and the environment."""

from translation_server.serving import app_from_environment, http_from_environment

app = app_from_environment()
http = http_from_environment()
