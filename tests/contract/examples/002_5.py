response = await client.start_translation("en", "es")
job_id = response["job_id"]
