"""A stand-in for the Hugging Face hub on this machine: what `huggingface_hub` calls to make, fill and read models."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_stand_in"
"""The one token that may write, and read what is private."""


@dataclass
class Repository:
    """Commits, oldest first, each with all its files; branches point to them."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def add(self, files: dict[str, bytes], branch: str) -> str:
        """A commit on a branch."""
        commit = hashlib.sha1(f"{len(self.commits)}".encode()).hexdigest()
        before = self.commits.get(self.branches.get(branch, ""), {})
        self.commits[commit] = {**before, **files}
        self.branches[branch] = commit
        return commit


@dataclass
class Hub:
    """What the stand-in holds, what it was asked, and the faults that it is to show.

    faults: by the beginning of "METHOD path", the status to answer with, or "short" for a body that breaks off.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    faults: dict[str, int | str] = field(default_factory=dict)

    def files(self, repository: str, branch: str = "main") -> dict[str, bytes]:
        """What a branch holds."""
        own = self.repositories[repository]
        return own.commits[own.branches[branch]]


@contextmanager
def hub_stand_in() -> Iterator[Hub]:
    """Serve an empty hub on a port of its own."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One request; `hub` is what it is about."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def handle_one(self) -> None:
        """Answer as the hub would, or with the fault that is asked for."""
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = f"{self.command} {path}"
        self.hub.asked.append(asked)
        fault = next((fault for start, fault in self.hub.faults.items() if asked.startswith(start)), None)
        if isinstance(fault, int):
            return self._json({"error": "asked for"}, fault)
        if path == "/":
            return self._json({})
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.startswith("/objects/"):
            self.hub.objects[path.split("/")[-1]] = body
            return self._json({})
        return self._of_repository(path.split("/")[1:], body, short=fault == "short")

    do_GET = do_HEAD = do_POST = do_PUT = handle_one  # noqa: N815

    def log_message(self, *args: Any) -> None:
        """Nothing on the terminal."""

    @property
    def _permitted(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _create(self, asked: dict[str, Any]) -> None:
        if not self._permitted:
            return self._json({"error": "Invalid username or password."}, 401)
        name = f"{asked['organization']}/{asked['name']}"
        known = {"url": f"{self.hub.url}/{name}", "name": name}
        if name in self.hub.repositories:
            return self._json({"error": "You already created this model repo", **known}, 409)
        self.hub.repositories[name] = Repository(asked.get("visibility") == "private" or asked.get("private") is True)
        self.hub.repositories[name].add({".gitattributes": b""}, "main")
        return self._json(known)

    def _of_repository(self, parts: list[str], body: bytes, short: bool) -> None:
        """`api/models/OWNER/NAME/ACTION/...`, `OWNER/NAME.git/info/lfs/...` or `OWNER/NAME/resolve/REVISION/FILE`."""
        if parts[:2] == ["api", "models"]:
            parts = parts[2:]
        name, action, rest = "/".join(parts[:2]).removesuffix(".git"), (parts[2:3] or ["revision"])[0], parts[3:]
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self._permitted):
            return self._json({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
        if action == "info":
            return self._lfs(json.loads(body))
        branch = rest[0] if rest else "main"
        if action == "branch":
            known = branch in repository.branches
            repository.branches.setdefault(branch, repository.branches["main"])
            return self._json({"error": "Reference already exists"} if known else {}, 409 if known else 200)
        commit = repository.branches.get(branch, branch)
        if commit not in repository.commits:
            return self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        if action == "preupload":
            return self._preupload(json.loads(body))
        if action == "commit":
            return self._commit(name, repository, branch, body)
        if action == "resolve":
            return self._resolve(repository.commits[commit], commit, "/".join(rest[1:]), short)
        siblings = [{"rfilename": file} for file in repository.commits[commit]]
        return self._json({"id": name, "sha": commit, "private": repository.private, "siblings": siblings, "tags": []})

    def _preupload(self, asked: dict[str, Any]) -> None:
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in asked["files"]
        ]
        return self._json({"files": modes})

    def _lfs(self, asked: dict[str, Any]) -> None:
        objects = [
            {**item, "actions": {"upload": {"href": f"{self.hub.url}/objects/{item['oid']}"}}}
            for item in asked["objects"]
        ]
        return self._json({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, repository: Repository, branch: str, body: bytes) -> None:
        if not self._permitted:
            return self._json({"error": "Unauthorized"}, 403)
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        commit = repository.add(files, branch)
        return self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit, "success": True})

    def _resolve(self, files: dict[str, bytes], commit: str, file: str, short: bool) -> None:
        if file not in files:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{hashlib.sha256(files[file]).hexdigest()}"', "X-Repo-Commit": commit}
        return self._send(files[file], 200, headers, short and self.command == "GET")

    def _json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int, headers: dict[str, str], short: bool = False) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if short else content)
        self.close_connection = self.close_connection or short
