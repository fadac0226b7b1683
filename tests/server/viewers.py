"""Requests exactly as the unmodified viewers send them (3D Slicer's MONAILabel module, OHIF)."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import requests
from requests_toolbelt import MultipartDecoder

TIMEOUT = 120


@dataclass
class Answer:
    """A viewer's view of an answer."""

    status: int
    labels: np.ndarray | None
    params: dict
    detail: str
    header: dict | None = None


@dataclass
class Slicer:
    """What Slicer's module sends; `session` for volumes opened locally, else `image`."""

    url: str
    client_id: str = "user-xyz"
    session: str | None = None

    def info(self) -> dict:
        return requests.get(f"{self.url}/info/", timeout=TIMEOUT).json()

    def open_session(self, volume: Path) -> str:
        with volume.open("rb") as file:
            answer = requests.put(
                f"{self.url}/session/",
                params={"expiry": 3600},
                files={"files": (volume.name, file)},
                timeout=TIMEOUT,
            )
        self.session = answer.json()["session_id"]
        return self.session

    def options(self, model: str) -> dict:
        """Slicer sends every option it shows: the first item of a list, the text of a field."""
        config = self.info()["models"][model]["config"]
        return {k: v[0] if isinstance(v, list) else v for k, v in config.items()}

    def scribbles(
        self,
        image: str,
        labels: np.ndarray,
        affine: np.ndarray,
        segments: dict[str, int],
        selected: str,
        model: str = "sam2_ct_masks",
        **options: object,
    ) -> Answer:
        params = {
            "roi": [],
            "label_info": [{"name": n, "id": i} for n, i in segments.items()],
            "selected_label_name": selected,
            **self.options(model),
            **options,
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scribbles.nii.gz"
            nib.save(nib.Nifti1Image(labels.astype(np.uint8), affine), path)
            return self.infer(model, image, params, label=path)

    def smart_edit(
        self,
        image: str,
        foreground: list,
        background: list = (),
        *,
        model: str = "sam2_ct_points",
        label: str = "bone",
        **options: object,
    ) -> Answer:
        params = {
            "label": label,
            "foreground": foreground,
            "background": list(background),
            "reset_state": True,
            **self.options(model),
            **options,
        }
        return self.infer(model, image, params)

    def segmentation(self, image: str, model: str = "sam2_ct_propagate", **options) -> Answer:
        return self.infer(model, image, {**self.options(model), **options})

    def infer(self, model: str, image: str, params: dict, label: Path | None = None) -> Answer:
        params = {
            "result_extension": ".nrrd",
            "result_dtype": "uint8",
            "client_id": self.client_id,
            **params,
        }
        query = {"image": image}
        if self.session:
            query["session_id"] = self.session
        fields: dict = {"params": (None, json.dumps(params))}
        if label is not None:
            fields["label"] = (label.name, label.read_bytes())
        return decode(
            requests.post(f"{self.url}/infer/{model}", params=query, files=fields, timeout=TIMEOUT)
        )


@dataclass
class Ohif:
    """What OHIF's MONAI Label panel sends: no client, no session, `output=image`.

    `cookies` are those its browser was given with the pages.
    """

    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    def infer(self, model: str, image: str, output: str = "image", **params: object) -> Answer:
        params = {
            "result_extension": ".nrrd",
            "result_dtype": "uint8",
            "result_compress": False,
            "restore_label_idx": False,
            **params,
        }
        return decode(
            requests.post(
                f"{self.url}/infer/{model}",
                params={"image": image, "output": output},
                files={"params": (None, json.dumps(params))},
                cookies=self.cookies,
                timeout=TIMEOUT,
            )
        )


def decode(answer: requests.Response) -> Answer:
    """Either kind of answer: multipart with params and image, or the image alone."""
    kind = answer.headers.get("content-type", "")
    if answer.status_code != 200:
        detail = answer.json()["detail"] if "json" in kind else answer.text
        return Answer(answer.status_code, None, {}, detail)
    if kind.startswith("application/json"):
        return Answer(200, None, answer.json(), "")
    if not kind.startswith("multipart"):
        labels, header = read_nrrd(answer.content)
        return Answer(200, labels, {}, "", header)
    params, labels, header = {}, None, None
    for part in MultipartDecoder.from_response(answer).parts:
        about = part.headers[b"Content-Disposition"].decode()
        if 'name="params"' in about:
            params = json.loads(part.text)
        else:
            labels, header = read_nrrd(part.content)
    return Answer(200, labels, params, "", header)


def read_nrrd(content: bytes) -> tuple[np.ndarray, dict]:
    """Voxels and header of an NRRD file in memory."""
    with tempfile.NamedTemporaryFile(suffix=".nrrd") as file:
        file.write(content)
        file.flush()
        return nrrd.read(file.name)
