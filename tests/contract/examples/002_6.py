result = await client.wait_for_completion(job_id)
