"""`make demo`: starts a server, runs three jobs with the command, and stops the server."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT / "server"), str(ROOT / "client")]),  # works without installation
    "API_USERNAME": "admin",
    "API_PASSWORD": "secretpassword",
    "MIN_DELAY": "2",
    "MAX_DELAY": "6",
    "ERROR_PROBABILITY": "0.3",
    "SEED": "tour",
    "TRANSLATION_CLIENT_COMMAND": "",  # suggests no command lines: the server is gone when they could be tried
}
SERVER = [sys.executable, "-m", "translation_server", "--host", "127.0.0.1", "--port", "0"]
CLIENT = [sys.executable, "-m", "translation_client", "--jobs=3", "--source-language=en", "--target-language=es"]


def main() -> int:
    """Returns 0 if every job completed."""
    with (
        tempfile.TemporaryDirectory() as folder,  # for the database and the client's log
        subprocess.Popen(SERVER, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as server,
    ):
        try:
            url = find_address(server)
            print(f"A server listens on {url}; its jobs take 2 to 6 seconds. By default, three jobs", flush=True)
            print("in ten fail. The demo has a fixed seed, with which all three complete.\n", flush=True)
            status = subprocess.run([*CLIENT, "--url", url], cwd=folder, env=ENVIRONMENT, check=False).returncode
        finally:
            server.terminate()
            _, log = server.communicate()
    print(f"\nThe server's log:\n{log}\nEverything is stopped. The server exited with {server.returncode}.")
    return status


def find_address(server: "subprocess.Popen[str]") -> str:
    """Reads the server's log up to its address."""
    lines = []
    for line in server.stderr or ():
        if "listening on " in line:
            return line.split()[-1]
        lines.append(line)
    raise SystemExit(f"The server did not start:\n{''.join(lines)}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
