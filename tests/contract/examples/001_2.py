from video_translation_client import VideoTranslationClient, StatusPollingConfig

config = StatusPollingConfig(
    initial_delay=1.0,      # Delay before the first retry (seconds)
    max_delay=8.0,          # Maximum delay between retries (seconds)
    backoff_factor=2.0,     # Exponential backoff factor
    timeout=30.0            # Timeout for the entire polling session
)

client = VideoTranslationClient(
    base_url="http://localhost:8000",
    config=config,
    on_status_change=lambda status: print(f"Status changed: {status}")
)
