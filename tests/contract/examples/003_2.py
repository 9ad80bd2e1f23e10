from client_library import VideoTranslationClient

client = VideoTranslationClient(
    base_url="http://127.0.0.1:5000",  # URL of the server
    max_retries=10,                    # Maximum number of retries
    backoff_factor=2,                  # Exponential backoff factor
    timeout=30                         # Total timeout in seconds
)
