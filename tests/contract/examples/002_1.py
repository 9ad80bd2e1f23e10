import asyncio
from client import VideoTranslationClient

async def main():
    async with VideoTranslationClient("http://localhost:8000") as client:
        # Start translation
        response = await client.start_translation("en", "es")
        job_id = response["job_id"]
        
        # Wait for completion
        result = await client.wait_for_completion(job_id)
        print(f"Translation completed: {result}")

asyncio.run(main())
