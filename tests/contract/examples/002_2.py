class TranslationConfig:
    def __init__(
        self,
        base_timeout=30,
        min_delay=0.5,
        max_delay=3.0,
        progressive_delay=True
    ):
        self.base_timeout = base_timeout
        self.min_delay = min_delay
        self.max_delay = max_delay
        self.progressive_delay = progressive_delay
