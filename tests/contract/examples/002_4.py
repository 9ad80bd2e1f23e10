client = VideoTranslationClient(
    base_url="http://localhost:8000",
    config=TranslationConfig(
        base_timeout=30,
        min_delay=0.5,
        max_delay=3.0,
        progressive_delay=True
    )
)
