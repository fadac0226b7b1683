from dataclasses import dataclass

import pytest
from starlette.requests import Request

from lib.engine.jobs import Job
from lib.serving.clients import COOKIE, Caller, caller_of


@dataclass
class Person:
    name: str
    is_admin: bool = False


def request(user: Person | None = None, cookie: str = "") -> Request:
    headers = [(b"cookie", f"{COOKIE}={cookie}".encode())] if cookie else []
    scope = {"type": "http", "client": ("10.0.0.7", 1), "headers": headers, "state": {}}
    if user:
        scope["state"]["user"] = user
    return Request(scope)


def job_of(client: str) -> Job:
    return Job(client, "ct", "masks", "cpu")


@pytest.mark.parametrize(
    ("client_id", "cookie", "client"),
    [
        (None, "", "10.0.0.7"),
        (None, "browser-1", "browser-1"),
        ("slicer", "browser-1", "slicer"),
        ("", "", "10.0.0.7"),
    ],
)
def test_without_log_in_the_request_says_who_it_is(client_id, cookie, client):
    assert caller_of(request(cookie=cookie), client_id) == Caller(client)


@pytest.mark.parametrize(
    ("client_id", "client"),
    [(None, "anna"), ("slicer", "anna/slicer"), ("bert", "anna/bert"), ("bert/x", "anna/bert/x")],
)
def test_a_named_client_is_within_the_users_own_name(client_id, client):
    caller = caller_of(request(Person("anna"), cookie="browser-1"), client_id)
    assert caller == Caller(client, "anna")
    assert caller.may_manage(job_of(client))


@pytest.mark.parametrize("client", ["bert", "bert/anna", "anna2", "anna2/x", "annA/x"])
def test_nobody_owns_anothers_jobs_and_an_admin_manages_all(client):
    assert not caller_of(request(Person("anna"))).may_manage(job_of(client))
    admin = caller_of(request(Person("root", is_admin=True)))
    assert admin.may_manage(job_of(client))


def test_without_log_in_a_job_is_its_clients():
    assert caller_of(request(), "slicer").may_manage(job_of("slicer"))
    assert not caller_of(request(), "slicer").may_manage(job_of("slicer/x"))
