"""What a caller is told when something goes wrong: a status and a sentence, never a path."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import MONAILabelException
from requests import ConnectionError, HTTPError, RequestException, Timeout
from starlette.exceptions import HTTPException as StarletteHTTPException

from lib.errors import BadInput, Cancelled, Unavailable

logger = logging.getLogger(__name__)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}

#: Where the server's folders are, and what people know them by; the longest path first.
_known: list[tuple[str, str]] = []

#: Files whose names nobody knows.
_NAMELESS = (
    (re.compile(r"(the scratch folder/)?upload-\w+(\.nii(\.gz)?|\.nrrd)?"), "the upload"),
    (re.compile(r"the session folder/[0-9a-f-]{36}/volume(\.nii(\.gz)?|\.nrrd)"), "the volume"),
)

_TOLD = (
    BadInput,
    Unavailable,
    Cancelled,
    MONAILabelException,
    OSError,  # those of requests, too
    RequestValidationError,
    StarletteHTTPException,
)


def as_answer(error: Exception) -> StarletteHTTPException:
    """The HTTP error that tells a person what happened, without naming the server's folders."""
    told = _answer_to(error)
    return StarletteHTTPException(told.status_code, public(str(told.detail)), told.headers)


def _answer_to(error: Exception) -> StarletteHTTPException:
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in _FULL:
        return HTTPException(507, "the server's disk is full: nothing was changed")
    if isinstance(error, StarletteHTTPException):
        return error
    if isinstance(error, RequestValidationError):
        return HTTPException(422, "; ".join(_wrong_field(one) for one in error.errors()))
    if isinstance(cause, OSError) and cause.errno in _REFUSED:
        where = f" {cause.filename}" if cause.filename else ""
        said = str(error) if error is not cause else f"cannot write{where}: {cause.strerror}"
        return HTTPException(403, f"{said}; the server may only read there, nothing was changed")
    if isinstance(error, BadInput):
        return HTTPException(422, str(error))
    if isinstance(error, FileNotFoundError):
        logger.warning("a file has gone: %s", error)
        return HTTPException(404, "it was removed meanwhile: look again what there is")
    if isinstance(error, Unavailable):
        return HTTPException(503, str(error))
    if isinstance(error, Cancelled):
        return HTTPException(409, f"stopped: {error}")
    if isinstance(error, MONAILabelException):
        return HTTPException(422, error.msg)
    if isinstance(error, RequestException):
        return _of_the_store(error)
    logger.exception("a request failed", exc_info=error)
    return HTTPException(
        500, f"an unexpected error of the server ({type(error).__name__}); its log says more"
    )


def tell_in_sentences(app: FastAPI, folders: Mapping[str, str | Path]) -> None:
    """Let every route of `app` answer errors with `as_answer`.

    Args:
        app: while it starts.
        folders: what people know the server's folders by, and where they are; sentences say the
            first.
    """
    _known[:] = sorted(
        ((str(path), name) for name, path in folders.items()), key=lambda one: -len(one[0])
    )

    async def answer(_request: Request, error: Exception) -> JSONResponse:
        told = as_answer(error)
        return JSONResponse(
            {"detail": told.detail}, status_code=told.status_code, headers=told.headers
        )

    for kind in _TOLD:
        app.add_exception_handler(kind, answer)


def public(sentence: str) -> str:
    """A sentence without the server's folders, and without half characters."""
    for path, name in _known:
        sentence = sentence.replace(path, name)
    for pattern, name in _NAMELESS:
        sentence = pattern.sub(name, sentence)
    return sentence.encode(errors="replace").decode()


def _wrong_field(found: Mapping[str, object]) -> str:
    """`back: Input should be greater than or equal to 0`; what was sent is not repeated."""
    place = [str(part) for part in found.get("loc", ())][1:]
    return f"{'.'.join(place) or 'the request'}: {found.get('msg')}"


def _of_the_store(error: RequestException) -> HTTPException:
    asked = urlsplit(error.request.url).netloc if error.request else "its address"
    if isinstance(error, ConnectionError | Timeout):
        return HTTPException(503, f"the image store at {asked} does not answer: is it running?")
    if isinstance(error, HTTPError) and error.response is not None:
        status = error.response.status_code
        return HTTPException(502, f"the image store at {asked} answered {status}")
    return HTTPException(502, f"the image store at {asked} answered what makes no sense")
