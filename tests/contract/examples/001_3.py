try:
    result = await client.poll_until_complete()
    print(f"Final result: {result.status}")
except TimeoutError:
    print("Job did not complete within the configured timeout.")
