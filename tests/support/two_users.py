"""What an engine finds of its harness: run in the agent's own shell, it prints one JSON object."""

PROBE = """
import ctypes, json, os, socket, urllib.error, urllib.request
from pathlib import Path

def tried(action):
    try:
        return repr(action())
    except Exception as error:
        return "refused: " + type(error).__name__

def words(pid):
    return Path("/proc", pid, "cmdline").read_bytes().split(b"\\0")

def harness():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if words(pid)[1:3] == [b"-m", b"hive_harness"]:
            return int(pid)

def asked(path, token, data=None):
    headers = {"Authorization": "Bearer " + token}
    try:
        return urllib.request.urlopen(urllib.request.Request(url + path, data, headers)).status
    except urllib.error.HTTPError as error:
        return error.code

def redis():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("/run/redis/redis.sock")
        s.sendall(b"XLEN hive:{hm1nd}:control\\r\\n")
        return s.recv(99).decode()

pid = harness()
libc = ctypes.CDLL(None)
server = json.loads(Path("/run/hive/engine/mcp.json").read_text())["mcpServers"]["hyperhive"]
url, token = server["url"].removesuffix("/mcp"), server["headers"]["Authorization"].removeprefix("Bearer ")
user = int(Path("/proc/%d/status" % pid).read_text().split("Uid:")[1].split()[0])
status = dict(line.split(":\\t") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "uids": [os.getuid(), user, os.stat("/state").st_uid],
    "harness": Path("/proc/%d/status" % pid).read_text(),
    "capabilities": [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
    "groups": os.getgroups(),
    "reached": {
        "environment": tried(lambda: Path("/proc/%d/environ" % pid).read_bytes()),
        "memory": tried(lambda: open("/proc/%d/mem" % pid, "rb")),
        "files": tried(lambda: os.listdir("/proc/%d/fd" % pid)),
        "trace": "refused" if libc.ptrace(16, pid, 0, 0) == -1 else "attached",
        "signal": tried(lambda: os.kill(pid, 0)),
        "its user": tried(lambda: os.setuid(user)),
        "root": tried(lambda: os.setuid(0)),
        "what it keeps": tried(lambda: os.listdir("/var/lib/hive")),
        "its run directory": tried(lambda: os.listdir("/run/hive")),
        "its password": tried(lambda: Path("/run/hive/redis-password").read_text()),
        "the engine's servers": tried(lambda: Path("/run/hive/engine/mcp.json").write_text("{}")),
    },
    "redis": redis(),
    "endpoint": [asked("/mcp", "guess", b"{}"), asked("/api/state", token, b"{}"), asked("/api/pause", token, b"{}")],
}))
"""
