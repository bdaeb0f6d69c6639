"""`vpt serve` refuses, before anything is loaded, what it was asked wrongly."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from vpt.cli.main import main
from vpt.cli.serve import check_host
from vpt.errors import OptionError

pytest.importorskip("fastapi", reason="needs an extra: pip install 'vpt[serve]'")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gpu.example"])
def test_other_machines_are_let_in_with_tokens_or_when_told_so(host: str) -> None:
    with pytest.raises(OptionError, match=f"--host {host} lets other machines in"):
        check_host(host, closed=False, open_to_all=False)
    check_host(host, closed=True, open_to_all=False)
    check_host(host, closed=False, open_to_all=True)
    with pytest.raises(OptionError, match="give one of the two"):
        check_host(host, closed=True, open_to_all=True)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.5", "::1"])
def test_this_machine_is_let_in(host: str) -> None:
    check_host(host, closed=False, open_to_all=False)


def asked(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["serve", "--backbone", "embedded", *arguments])
    return int(stopped.value.code or 0)


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = ("--library", str(tmp_path / "library"))
    assert asked(*library) == 1
    assert "is no library" in capsys.readouterr().err
    assert asked(*library, "--host", "0.0.0.0") == 2
    assert "lets other machines in" in capsys.readouterr().err
    assert asked(*library, "--tokens", str(tmp_path / "none.yaml")) == 2
    assert "none.yaml cannot be read" in capsys.readouterr().err
    assert asked(*library, "--timeout", "-1") == 2
    assert "timeout=-1.0; accepted: a number above 0" in capsys.readouterr().err
    for option in ("--max-upload-mb", "--max-inflight-mb"):
        for number in ("inf", "nan", "0"):
            assert asked(*library, option, number) == 2
            assert f"{option} {number}; accepted: a number of mebibytes above 0" in capsys.readouterr().err
    assert asked(*library, "--max-upload-mb", "500") == 2
    assert "max_inflight=268435456; accepted: from max_upload" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named() -> None:
    from fastapi import FastAPI

    from vpt.serving.http import run

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OptionError, match="cannot listen at 127"),
    ):
        run(FastAPI(), port=taken.getsockname()[1])


def test_a_grace_that_is_no_time_is_refused() -> None:
    from fastapi import FastAPI

    from vpt.serving.http import run

    with pytest.raises(OptionError, match="grace is nan"):
        run(FastAPI(), port=0, grace=float("nan"))
