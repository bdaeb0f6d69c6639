"""`application`: the server on many machines, as a Ray Serve deployment whose replicas all follow one library.

    serve run vpt.serving.ray_serve:build library=s3://bucket/tasks backbone=embedded num_replicas=4

Every replica has the backbone and all tasks in memory. What is served is the library's to say: a change by hand would
reach one replica of many, and is refused. `/metrics` are those of the replica that answers.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from fastapi import FastAPI
from omegaconf import OmegaConf

from vpt.backbones import family_of, load_backbone, load_tokenizer
from vpt.backbones.load import check_name
from vpt.errors import ArtifactError, OptionError, unknown
from vpt.serving.http import Follower, Settings, Tokens, create_app, source_of
from vpt.serving.predictor import Predictor

if TYPE_CHECKING:
    from ray.serve import Application

NAME = "vpt"
"""Of the deployment, by which a configuration file of Serve's may set its options."""

SETTINGS = tuple(field.name for field in fields(Settings) if field.name != "tokens")


def application(
    library: str | Path,
    backbone: str,
    *,
    checkpoint: Path | None = None,
    image_size: int | None = None,
    tokenizer: Path | None = None,
    poll: float = 5.0,
    settings: Settings | None = None,
    **options: Any,
) -> Application:
    """A Ray Serve application, for `serve.run`: the app of `vpt serve`, built anew in every replica.

    library: a library (folder or URL), or a folder of saved tasks; it has to be there for every replica, and so have
        the other files. Each replica looks at it every `poll` seconds.
    backbone, checkpoint, image_size: as of `vpt.load_backbone`; on CUDA where Ray gives a replica a GPU.
    tokenizer: a folder with the Hugging Face tokenizer of an open_clip model.
    options: of `ray.serve.deployment`, e.g. num_replicas, autoscaling_config, ray_actor_options.
    Raises `OptionError` without Ray Serve, and for unknown backbones and options.
    """
    serve, limits = _serve(), settings or Settings()
    for name in options:
        if name not in _options(serve):
            raise unknown("option of a Ray Serve deployment", name, _options(serve))
    check_name(backbone)

    def app() -> FastAPI:  # Serve calls functions in each replica, and would try to pickle anything else
        return app_of_replica(library, backbone, checkpoint, image_size, tokenizer, poll, limits)

    # Serve's own limit is a handful of requests, of which no batch of this server's would ever be full
    chosen = {"name": NAME, "max_ongoing_requests": limits.max_queue, **options}
    return serve.deployment(**chosen)(serve.ingress(app)(Replica)).bind()  # type: ignore[no-any-return]


def app_of_replica(
    library: str | Path,
    backbone: str,
    checkpoint: Path | None,
    image_size: int | None,
    tokenizer: Path | None,
    poll: float,
    settings: Settings,
) -> FastAPI:
    """The app of one replica; arguments as of `application`."""
    model = load_backbone(backbone, checkpoint=checkpoint, image_size=image_size)
    words = load_tokenizer(backbone, tokenizer) if family_of(backbone) == "open_clip" else None
    predictor = Predictor(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer=words)
    return create_app(predictor, settings, LibraryOnly(source_of(library), poll=poll))


def build(args: Mapping[str, Any]) -> Application:
    """`application` from the arguments of `serve run`, or of a configuration file.

    args: those of `application` by name, the limits of `Settings` in the place of `settings`, tokens (a YAML file of
        who may use which tasks), and options of the deployment; text is read as YAML, and `a.b=c` is c of b of a.
    Raises `OptionError` for what is missing or unknown, and as `application` and `Tokens.read` do.
    """
    given = _parse(args)
    if missing := [name for name in ("library", "backbone") if name not in given]:
        raise OptionError(f"{' and '.join(missing)} missing; serve run {__name__}:build library=... backbone=...")
    own = {name: given.pop(name) for name in _own() if name in given}
    limits = {name: given.pop(name) for name in SETTINGS if name in given}
    tokens = given.pop("tokens", None)
    serve = _serve()
    for name in given:
        if name not in _options(serve):
            raise unknown("argument", name, {*_own(), *SETTINGS, "tokens", *_options(serve)})
    paths = {name: Path(str(own[name])) for name in ("checkpoint", "tokenizer") if own.get(name) is not None}
    settings = Settings(**limits, tokens=None if tokens is None else Tokens.read(Path(str(tokens))))
    own |= {"library": str(own["library"]), "backbone": str(own["backbone"]), **paths}
    return application(**own, settings=settings, **given)


class Replica:
    """What Ray Serve asks beside the app's requests."""

    app: FastAPI

    async def check_health(self) -> None:
        """Healthy as the app is ready: a new replica gets no request before every task had its chance to load."""
        while not self.app.state.service.ready:
            await asyncio.sleep(0.05)


class LibraryOnly(Follower):
    """A follower that takes no change by hand. Raises `ArtifactError` for one."""

    def serve(self, name: str, version: int | None) -> None:
        """Refused."""
        raise self._refusal(name)

    def drop(self, name: str) -> None:
        """Refused."""
        raise self._refusal(name)

    def _refusal(self, name: str) -> ArtifactError:
        return ArtifactError(f"{name} cannot be changed here, in one replica of many; change it in the library")


def _serve() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        raise OptionError(f"Ray Serve needs {error.name}: pip install 'vpt[ray,serve]'") from error
    return serve


def _options(serve: Any) -> set[str]:
    """Names of what a deployment may be told."""
    return {name for name in inspect.signature(serve.deployment).parameters if not name.startswith("_")}


def _own() -> set[str]:
    """Names of what `application` itself takes."""
    return {*inspect.signature(application).parameters} - {"settings", "options"}


def _parse(args: Mapping[str, Any]) -> dict[str, Any]:
    """Text as YAML, `a.b` as b of a; what a file gave as something else stays as it is."""
    words = [f"{name}={value}" for name, value in args.items() if isinstance(value, str)]
    others = {name: value for name, value in args.items() if not isinstance(value, str)}
    found: Any = OmegaConf.to_container(OmegaConf.merge(OmegaConf.from_dotlist(words), others))
    return {str(name): value for name, value in found.items()}
