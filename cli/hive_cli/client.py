"""A client of the dashboard's HTTP API, over the standard library: a command must be done before httpx is imported."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from hive_cli.errors import ApiProblem, NotRunning
from hive_cli.paths import DataDir
from hive_cli.stack.lock import running_pid
from hive_cli.stack.managed import STARTS
from hive_contracts.errors import Refused, TimedOut

TIMEOUT_S: Final = 40.0
"""Longer than the server's own waits (a spawn, an acceptance), so that its answer is the one that counts."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    data: Any


class HiveClient:
    """One connection per call. Raises `NotRunning`, `ApiProblem`, `TimedOut`."""

    def __init__(self, address: str, token: str, *, timeout_s: float = TIMEOUT_S, starts: str = "hive up") -> None:
        self.address = address
        self._starts = starts
        self._token = token
        self._timeout_s = timeout_s

    def get(self, path: str, **query: str | int | None) -> Any:
        given = {key: value for key, value in query.items() if value is not None}
        return self.call("GET", f"{path}?{urlencode(given)}" if given else path).data

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        return self.call("POST", path, body=body or {}, headers=headers or {})

    def patient(self, timeout_s: float) -> "HiveClient":
        """The same, for what takes longer."""
        return HiveClient(self.address, self._token, timeout_s=timeout_s, starts=self._starts)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        content = None if body is None else json.dumps(body).encode()
        fields = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", **(headers or {})}
        if content is not None:
            fields["Content-Type"] = "application/json"
        status, text = self._exchange(method, path, content, fields)
        return _checked(status, text)

    def _exchange(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        place = urlsplit(self.address)
        connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port, timeout=self._timeout_s)
        try:
            connection.request(method, path, body=content, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        except TimeoutError as error:
            raise TimedOut(
                f"the hive at {self.address} did not answer within {self._timeout_s:.0f} s; it may still do the work"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or error
            raise NotRunning(
                f"the hive at {self.address} does not answer ({reason}); see `hive logs dashboard`, or start it "
                f"with `{self._starts}`"
            ) from error
        finally:
            connection.close()


def find_hive(data: DataDir) -> HiveClient:
    """The client for the hive that runs on `data`. Raises `NotRunning`, `Refused`."""
    try:
        facts = json.loads(data.hive_json.read_text())
        starts = STARTS.get(facts.get("manager", ""), "hive up")
        client = HiveClient(facts["address"], data.api_token.read_text().strip(), starts=starts)
    except PermissionError as error:
        raise Refused(
            f"this user may not read {error.filename}; use this hive as the user that started it, or as root"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _none_runs(data) from error
    if "pid" in facts and running_pid(data) is None:
        raise _none_runs(data)  # it was killed, and what it said of itself is still there
    return client


def _none_runs(data: DataDir) -> NotRunning:
    return NotRunning(
        f"no hive is running with the data directory {data.root}; start one with `hive up`, or name another's with "
        "--data-dir"
    )


def _checked(status: int, text: bytes) -> Reply:
    try:
        data = json.loads(text) if text else None
    except ValueError:
        data = None
    if status < 300:
        return Reply(status, data)
    problem = data if isinstance(data, dict) else {}
    detail = problem.get("detail") or problem.get("title") or f"the dashboard answered with HTTP {status}"
    raise ApiProblem(str(detail), http_status=status, problem_code=str(problem.get("code", "")))
