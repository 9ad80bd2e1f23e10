from client_library import VideoTranslationClient

# Initialize the client
client = VideoTranslationClient(
    base_url="http://127.0.0.1:5000",  # Server base URL
    max_retries=10,                    # Max retries
    backoff_factor=2,                  # Backoff factor
    timeout=30                         # Timeout in seconds
)

# Poll the server for status
try:
    status = client.get_status()
    print(f"Final status of the job: {status}")
except TimeoutError as e:
    print(f"Operation timed out: {e}")
except Exception as e:
    print(f"An error occurred: {e}")
