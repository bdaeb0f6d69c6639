"""`vpt serve`: a library's tasks over HTTP, from one backbone in memory."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpt.errors import OptionError
from vpt.runs.console import note

if TYPE_CHECKING:
    from vpt.serving import Predictor

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def serve(
    library: Annotated[str, typer.Option(help="A library (folder or URL), or a folder of saved tasks.")],
    backbone: Annotated[str, typer.Option(help="The backbone of these tasks, by name.")],
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for a free one.")] = 8000,
    checkpoint: Annotated[Path | None, typer.Option(help="The backbone's weights, where they lie elsewhere.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Its images' pixels, where not the model's own.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="A folder with its Hugging Face tokenizer.")] = None,
    tokens: Annotated[Path | None, typer.Option(help="A YAML file of who may use which tasks.")] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Without --tokens, let everyone who reaches --host do everything.")
    ] = False,
    poll: Annotated[float, typer.Option(min=0.05, help="Seconds between looks at the library.")] = 5.0,
    max_batch: Annotated[int, typer.Option(min=1, help="Most images of a forward pass; 1 is no batching.")] = 32,
    max_wait_ms: Annotated[float, typer.Option(min=0, help="How long a batch waits for more images.")] = 2.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Images being answered at once; more get 503.")] = 1024,
    max_upload_mb: Annotated[float, typer.Option(help="Mebibytes of a request's body.")] = 32.0,
    max_inflight_mb: Annotated[float, typer.Option(help="Mebibytes of all requests at once; more get 503.")] = 256.0,
    max_pixels: Annotated[int, typer.Option(min=1, help="Height times width of an image.")] = 25_000_000,
    decoders: Annotated[int, typer.Option(min=1, help="Images decoded at once.")] = 2,
    max_connections: Annotated[int, typer.Option(min=1, help="Open at once; more are refused with 503.")] = 1024,
    timeout: Annotated[float, typer.Option(help="Seconds for an answer.")] = 30.0,
    body_timeout: Annotated[float, typer.Option(help="Seconds for an upload to arrive.")] = 60.0,
    grace: Annotated[float, typer.Option(min=0, help="Seconds, when told to stop, to answer what was taken.")] = 30.0,
) -> None:
    """Answer over HTTP which class a picture is, by any task of a library.

    \b
    vpt serve --library tasks/ --backbone vit_base_patch16_224.augreg_in21k
    vpt serve --library s3://bucket/tasks --backbone embedded --host 0.0.0.0 --tokens tokens.yaml

    One backbone is in memory, whatever the number of tasks. Approvals and rollbacks take effect while it runs.
    The page is at /, the interface is described at /docs; Ctrl-C or SIGTERM ends it when what it took is answered.
    """
    check_host(host, closed=tokens is not None, open_to_all=open_to_all)
    try:
        from vpt.serving.http import Follower, Settings, Tokens, create_app, run, source_of
    except ImportError as error:
        raise OptionError(f"vpt serve needs {error.name}: pip install 'vpt[serve]'") from error

    settings = Settings(
        max_batch=max_batch, max_wait_ms=max_wait_ms, max_queue=max_queue,
        max_upload=_bytes("--max-upload-mb", max_upload_mb), max_inflight=_bytes("--max-inflight-mb", max_inflight_mb),
        max_pixels=max_pixels, decoders=decoders, timeout=timeout, body_timeout=body_timeout,
        tokens=None if tokens is None else Tokens.read(tokens),
    )  # fmt: skip
    follower = Follower(source_of(library), poll=poll)
    log()
    hosts = () if tokens is not None or open_to_all else (*LOOPBACK, host)
    app = create_app(_predictor(backbone, checkpoint, image_size, tokenizer), settings, follower, hosts)
    run(
        app, host, port, max_connections=max_connections, grace=grace,
        started=lambda url: note(f"serving {library} at {url}"),
    )  # fmt: skip


def _bytes(option: str, mebibytes: float) -> int:
    if not 0 < mebibytes < float("inf"):
        raise OptionError(f"{option} {mebibytes:g}; accepted: a number of mebibytes above 0")
    return int(mebibytes * 2**20)


def log() -> None:
    """Write what the server logs, a line per request included, to stderr with its time."""
    import logging

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("vpt").setLevel(logging.INFO)


def check_host(host: str, *, closed: bool, open_to_all: bool) -> None:
    """Raises `OptionError` where a server without tokens could be reached from elsewhere, and nobody said it may."""
    if closed and open_to_all:
        raise OptionError("--open is for a server without --tokens; give one of the two")
    if not (closed or open_to_all or _is_loopback(host)):
        raise OptionError(
            f"--host {host} lets other machines in, who could use, add and remove every task; "
            "give --tokens FILE, or --open to let everyone do everything"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _predictor(name: str, checkpoint: Path | None, image_size: int | None, tokenizer: Path | None) -> Predictor:
    import torch

    from vpt.runs.config import BackboneConfig
    from vpt.runs.prepare import prepare_backbone, prepare_tokenizer
    from vpt.serving import Predictor

    config = BackboneConfig(name, checkpoint, image_size, tokenizer=tokenizer)
    model = prepare_backbone(config).to("cuda" if torch.cuda.is_available() else "cpu")
    return Predictor(model, tokenizer=prepare_tokenizer(config))
