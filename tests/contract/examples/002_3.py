class VideoTranslationClient:
    async def start_translation(
        self,
        source_lang: str,
        target_lang: str
    ) -> Dict[str, Any]:
        # Start a new translation job
        pass

    async def wait_for_completion(self, job_id: str) -> Dict[str, Any]:
        # Wait for job completion with intelligent polling
        pass
