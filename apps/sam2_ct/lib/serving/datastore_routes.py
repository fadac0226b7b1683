"""Under /datastore and /activelearning: images, labels, what is known of them, the next image.

The routes of MONAI Label that Slicer, OHIF and its client use, with the same answers. Upstream's
run inside the event loop, take any name and any JSON, and answer 500 to most mistakes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body, Form, HTTPException, UploadFile
from fastapi.responses import FileResponse
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.utils.others.generic import file_checksum
from starlette.background import BackgroundTask

from lib.errors import BadInput
from lib.files import discard
from lib.serving import said
from lib.serving.downloads import download
from lib.serving.images import check_known, grid_of_image
from lib.serving.names import image_name, tag_name, text_name, without_ending
from lib.serving.roles import ADMIN, USER, Annotator, AnyUser
from lib.serving.studies import NOTES
from lib.serving.uploads import keep, keep_labels_on

_ALGORITHMS = ("SHA256", "SHA512", "MD5")


class Output(str, Enum):
    """What of the datastore is told."""

    TRAIN = "train"
    STATS = "stats"
    ALL = "all"


def datastore_routes(instance: MONAILabelApp) -> APIRouter:
    """A router over the app's datastore. Its functions run in threads."""
    router = APIRouter(prefix="/datastore", tags=["Datastore"])
    store = instance.datastore

    @router.get("/", dependencies=USER, summary="Images and labels")
    def everything(output: Output = Output.STATS):
        if output is Output.ALL:
            return store().json()
        return store().datalist() if output is Output.TRAIN else store().status()

    @router.put("/", include_in_schema=False)
    @router.put("/image", summary="Add an image")
    def add_image(
        user: Annotator,
        file: UploadFile,
        image: str = "",
        params: Annotated[str, Form()] = "{}",
    ) -> dict[str, str]:
        name = image_name(image or _stem(file.filename or ""))
        info = _info(params, user.username)
        upload = keep(file.file)
        try:
            return {"image": store().add_image(name, str(upload.path), info)}
        finally:
            discard(upload.path)

    @router.delete("/", dependencies=ADMIN, include_in_schema=False)
    @router.delete("/image", dependencies=ADMIN, summary="Remove an image and its labels")
    def remove_image(id: str) -> dict:
        check_known(instance, id)
        store().remove_image(id)
        return {}

    @router.head("/image", dependencies=USER, summary="Whether an image is there")
    def check_image(image: str, check_sum: str = "") -> dict:
        path = _image_file(instance, image)
        algorithm, _, digest = check_sum.rpartition(":")
        algorithm = algorithm or "SHA256"
        if algorithm not in _ALGORITHMS:
            raise BadInput(f"unknown checksum: use one of {', '.join(_ALGORITHMS)}")
        if digest and file_checksum(path, algorithm) != f"{algorithm}:{digest}":
            raise HTTPException(404, "the image is another one")
        return {}

    @router.get("/image", dependencies=USER, summary="Download an image")
    def image(image: str) -> FileResponse:
        path = _image_file(instance, image)
        return download(path, os.path.basename(path))

    @router.get("/image/info", dependencies=USER, summary="What is known of an image")
    def image_info(image: str) -> dict:
        check_known(instance, image)
        return store().get_image_info(image)

    @router.put("/image/info", summary="Add to what is known of an image")
    def update_image_info(user: Annotator, image: str, info: Annotated[str, Form()] = "{}") -> None:
        check_known(instance, image)
        store().update_image_info(image, _info(info, user.username))

    @router.put("/label", summary="Submit a label")
    def save_label(
        user: Annotator,
        image: str,
        label: UploadFile,
        tag: str = "final",
        params: Annotated[str, Form()] = "{}",
    ) -> dict[str, str]:
        tag = tag_name(tag or "final")
        info = _info(params, user.username)
        check_known(instance, image)
        path = keep_labels_on(grid_of_image(instance, image), label.file, label.filename or "")
        try:
            saved = store().save_label(image, str(path), tag, info)
        finally:
            discard(path)
        return {**(instance.on_save_label(image, saved) or {}), "image": image, "label": saved}

    @router.delete("/label", dependencies=ADMIN, summary="Remove a label")
    def remove_label(id: str, tag: str) -> dict:
        store().remove_label(id, tag_name(tag))
        return {}

    @router.head("/label", dependencies=USER, summary="Whether a label is there")
    def check_label(image: str, tag: str) -> dict:
        _label_file(store(), image, tag)
        return {}

    @router.get("/label", dependencies=USER, summary="Download a label")
    def label(label: str, tag: str) -> FileResponse:
        path = _label_file(store(), label, tag)
        return download(path, os.path.basename(path))

    @router.get("/label/info", dependencies=USER, summary="What is known of a label")
    def label_info(label: str, tag: str) -> dict:
        return store().get_label_info(label, tag_name(tag))

    @router.put("/label/info", summary="Add to what is known of a label")
    def update_label_info(
        user: Annotator, label: str, tag: str, info: Annotated[str, Form()] = "{}"
    ) -> None:
        store().update_label_info(label, tag_name(tag), _info(info, user.username))

    @router.get("/dataset", summary="Images with final labels, as a ZIP archive")
    def dataset(user: Annotator, limit_cases: int | None = None) -> FileResponse:
        if not store().datalist():
            raise HTTPException(404, "no image has a final label")
        path = store().get_dataset_archive(limit_cases)
        done = BackgroundTask(discard, Path(path))
        return download(path, "dataset.zip", "application/zip", background=done)

    return router


def sample_routes(instance: MONAILabelApp) -> APIRouter:
    """A router over the strategies that choose the next image."""
    router = APIRouter(prefix="/activelearning", tags=["ActiveLearning"])

    @router.post("/{strategy}", summary="The image to annotate next")
    def sample(
        user: AnyUser,
        strategy: str,
        params: Annotated[dict | None, Body()] = None,
    ) -> dict:
        params = params or {}
        said.check(params, "the request")
        strategy = text_name("strategy", strategy)
        client = text_name("client", str(params.get("client_id") or user.username))
        chosen = instance.next_sample({**params, "strategy": strategy})
        if not chosen:
            return {}
        store = instance.datastore()
        info = store.get_image_info(chosen["id"])
        asked = {strategy: {"ts": int(time.time()), "client_id": client}}
        store.update_image_info(chosen["id"], {"strategy": {**_mapping(info, "strategy"), **asked}})
        return {**chosen, **info}

    return router


def _mapping(info: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = info.get(key)
    return found if isinstance(found, Mapping) else {}


def _info(text: str, user: str) -> dict[str, object]:
    """What somebody says about an image or a label.

    Raises:
        BadInput: no JSON object, or a key that is the server's own.
    """
    info = said.read_object(text)
    reserved = NOTES & info.keys()
    if reserved:
        raise BadInput(f"{min(reserved)!r} is the server's own key: choose another one")
    return {**info, "user": user}


def _image_file(instance: MONAILabelApp, image: str) -> str:
    check_known(instance, image)
    path = instance.datastore().get_image_uri(image)
    if not os.path.isfile(path):
        raise HTTPException(404, "the image is not a single file")
    return path


def _label_file(store: Datastore, label: str, tag: str) -> str:
    path = store.get_label_uri(label, tag_name(tag))
    if not path or not os.path.isfile(path):
        raise HTTPException(404, "there is no such label")
    return path


def _stem(filename: str) -> str:
    return without_ending(os.path.basename(filename.replace("\\", "/")))
