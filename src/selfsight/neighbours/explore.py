"""The verb `explore`: a run or an index in, a map to look at, search and select images out."""

from __future__ import annotations

import html
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from selfsight.console import counted, say
from selfsight.models.tables import check_suffix
from selfsight.neighbours.atlas_table import write_atlas_table
from selfsight.neighbours.build import IndexImages
from selfsight.neighbours.build import index as build_index
from selfsight.neighbours.card import CARD
from selfsight.neighbours.encoder import Encoder
from selfsight.neighbours.index import Index
from selfsight.neighbours.map_columns import error_column, further_columns
from selfsight.neighbours.map_contents import map_contents
from selfsight.neighbours.map_server import MapServer
from selfsight.reporting.map_page import MapContents, map_html, write_map_page
from selfsight.runs.folder import RunFolder, is_model
from selfsight.settings import Settings
from selfsight.stops import accept


class Explore(Settings):
    """Look at all images on a map: neighbours, search, selection."""

    index: tyro.conf.Positional[str]
    """The folder of an index, or of a run, whose images are indexed first."""
    out: str | None = None
    """.html, one page that opens offline, or .parquet, a table that embedding-atlas reads; by
    default map.html, and nothing under --serve."""
    serve: bool = False
    """Serve the page on this machine until Ctrl-C: it then searches by an image that you choose,
    and shows images in full size."""
    points: Annotated[int, Field(ge=2, le=200_000)] = 5000
    """Images on the map at most; of more a seeded draw."""
    k: Annotated[int, Field(ge=1, le=100), tyro.conf.arg(aliases=("-k",))] = 12
    """Neighbours of each image."""
    columns: tuple[str, ...] = ()
    """Tables (CSV, Parquet) with a row_id and columns to colour by, such as clusters.csv."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Of the server; 0: a free one."""
    run: str | None = None
    """The run of the index, where it has moved; only a search by image needs it."""
    device: str = "auto"
    """auto, cpu, cuda, or one GPU of several, as in cuda:1."""
    allow_code: bool = False
    """Run the file.py:build that the backbone may name."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the draw and of the map."""


@dataclass(frozen=True)
class ImageMap:
    """A map; a notebook shows it in place.

    Attributes:
        contents: positions, neighbours and columns of the points.
        path: of the page or the table; None: it was not written.
    """

    contents: MapContents = field(repr=False)
    path: Path | None = None

    def __str__(self) -> str:
        return (
            f"{counted(len(self.contents.row_ids), 'image')} on a map: {self.path or 'not written'}"
        )

    def _repr_html_(self) -> str:
        """The page in a frame that can reach nothing of the notebook."""
        page = html.escape(map_html(self.contents), quote=True)
        return (
            '<iframe sandbox="allow-scripts allow-downloads" style="width:100%;height:760px;'
            f'border:0" title="{html.escape(self.contents.title)}" srcdoc="{page}"></iframe>'
        )

    def plain(self) -> dict[str, object]:
        """For ``--json``."""
        return {"images": len(self.contents.row_ids), "path": self.path}


def explore(settings: Explore) -> ImageMap:
    """Places images on a map by t-SNE, and writes or serves the page.

    Returns:
        The map, and where it was written.

    Raises:
        ValueError: no such index or run, a table of columns that does not fit, or a port that is
            taken.
    """
    out = settings.out or (None if settings.serve else "map.html")
    if out is not None:
        check_suffix(out, (".html", ".parquet"), settings)
    index, columns = _opened(settings)
    if len(index) < 2:
        raise ValueError(f"index {settings.index}: one image makes no map.")
    columns = {**columns, **further_columns(settings.columns, index)}
    contents = map_contents(index, settings.points, settings.k, columns, settings.seed)
    path = None if out is None else Path(out)
    if path is not None and path.suffix.lower() == ".parquet":
        write_atlas_table(path, index, contents)
    elif path is not None:
        write_map_page(path, contents)
    if settings.serve:
        _serve(settings, index, contents)
    return ImageMap(contents, path)


def _opened(settings: Explore) -> tuple[Index, Mapping[str, Sequence[str | None]]]:
    """The index, and what a run knows of its images."""
    folder = Path(settings.index)
    if (folder / CARD).is_file() or not folder.is_dir():
        index = Index.load(folder)
        run = RunFolder(settings.run or index.card.run)
        return index, error_column(run.predictions, index) if index.card.run else {}
    if is_model(folder):
        raise ValueError(
            f"{folder} is a model: index images with it first, `selfsight index {folder} IMAGES`."
        )
    run = RunFolder.existing(folder)
    kept = run.representations / "index"
    encoder = Encoder.load(folder, device=settings.device, allow_code=settings.allow_code)
    if not (kept / CARD).is_file() or Index.load(kept).card.encoder != encoder.key:
        say(f"The images of {folder} are indexed in {kept}.")
        shutil.rmtree(kept, ignore_errors=True)  # of other weights
        wish = IndexImages(
            run=str(folder), out=str(kept), device=settings.device, allow_code=settings.allow_code
        )
        build_index(wish)
    index = Index.load(kept)
    return index, error_column(run.predictions, index)


def _serve(settings: Explore, index: Index, contents: MapContents) -> None:
    """Serves until Ctrl-C, which is how this verb ends."""
    loaded: list[Encoder] = []

    def encoder() -> Encoder:
        if not loaded:
            run = settings.run or index.card.run
            options = {"device": settings.device, "allow_code": settings.allow_code}
            loaded.append(index.encoder_of(run, **options))  # type: ignore[arg-type]
        return loaded[0]

    with MapServer(index, contents, encoder, settings.k, settings.port) as server:
        say(f"The map: {server.address}")
        say("It is served on this machine alone, for those who have this address. Ctrl-C ends it.")
        try:
            server.serve()
        except KeyboardInterrupt:
            accept()
            say("The map is no longer served.")
