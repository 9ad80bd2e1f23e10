"""A web application that uses the job API: `uvicorn --app-dir examples app:app --port 9000`.

    curl -X POST "http://127.0.0.1:9000/videos/holidays/translations?target_language=es"

SERVER_URL, API_USERNAME and API_PASSWORD in the environment are the job API's address and credentials.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from translation_client import AsyncClient, InvalidRequest, JobTimeout, TranslationError, TransportError

CODES = {InvalidRequest: 422, TransportError: 503, JobTimeout: 504}  # every other error is a 502


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens one client for the application, so that all requests share its connections."""
    async with AsyncClient(
        os.environ.get("SERVER_URL", "http://127.0.0.1:8000"),
        username=os.environ.get("API_USERNAME"),
        password=os.environ.get("API_PASSWORD"),
        timeout=60,
    ) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(TranslationError)
async def explain(_: Request, error: TranslationError) -> JSONResponse:
    """Turns an error of the client into a response that says what is wrong."""
    return JSONResponse({"detail": str(error)}, CODES.get(type(error), 502))


@app.post("/videos/{video}/translations")
async def translate(request: Request, video: str, target_language: str) -> dict[str, object]:
    """Starts a job, waits for its end and returns it."""
    client: AsyncClient = request.app.state.client
    final = await client.run(target_language=target_language)
    final.raise_for_error()
    return {"video": video, "job_id": final.id, "state": final.state, "seconds": final.elapsed}
