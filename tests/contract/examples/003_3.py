try:
    status = client.get_status()
    print(f"Final status of the job: {status}")
except TimeoutError as e:
    print(f"Operation timed out: {e}")
except Exception as e:
    print(f"An error occurred: {e}")
