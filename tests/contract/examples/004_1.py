from client import TranslationStatusClient

# Initialize the client
client = TranslationStatusClient(
    base_url="http://127.0.0.1:8000",
    username="admin",
    password="secretpassword"
)

# Start a new job
job_id = client.start_job()
if not job_id:
    raise Exception("Failed to start a new job.")

print(f"Started job with ID: {job_id}")

# Wait for the job to complete
final_status = client.wait_for_completion(job_id)
print(f"Test completed with final status: {final_status}")
