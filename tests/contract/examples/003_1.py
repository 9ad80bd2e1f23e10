from client_library import VideoTranslationClient

client = VideoTranslationClient(
    base_url="http://127.0.0.1:5000",  # Server base URL
    max_retries=10,
    backoff_factor=2,
    timeout=30
)

try:
    status = client.get_status()
    print(f"Final status: {status}")
except TimeoutError as e:
    print(f"Timeout occurred: {e}")
except Exception as e:
    print(f"An error occurred: {e}")
