async with TranslationClient("http://localhost:8000") as client:
    job_id = await client.create_job(video_length=10)
    
    # Monitor status with callbacks
    final_status = await client.get_status(
        job_id,
        on_status_change=lambda status: print(f"Status: {status}"),
        on_completion=lambda data: print(f"Complete: {data}")
    )
