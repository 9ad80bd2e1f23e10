client = TranslationClient(
    base_url="http://localhost:8000",
    initial_delay=0.5,  # Start with 0.5s delay
    max_delay=5.0,      # Never wait more than 5s
    backoff_factor=2.0  # Double delay after each check
)
