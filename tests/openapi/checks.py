"""What the API promises beyond its description, as checks of schemathesis."""

import os

import schemathesis

ANONYMOUS = os.environ["XKS_TEST_ANONYMOUS"] == "1"
PROBLEM = "application/problem+json"


@schemathesis.check
def errors_are_problems(ctx, response, case):
    """Every error is a problem document that says what is wrong and where (RFC 9457)."""
    if response.status_code < 400:
        return
    kind = (response.headers.get("content-type") or [""])[0]
    assert kind == PROBLEM, f"{response.status_code} comes as {kind}"
    problem = response.json()
    reason = problem["reason"]
    assert problem["status"] == response.status_code, problem
    assert problem["type"] == f"urn:xks-preflight:problem:{reason}", problem
    assert problem["detail"] and problem["instance"], problem
    if reason == "invalid_body":
        assert response.status_code == 422 and problem["errors"], problem
        assert all(fault["pointer"] is not None and fault["detail"] for fault in problem["errors"]), problem
    if response.status_code == 401:
        assert "www-authenticate" in response.headers, response.headers
    if response.status_code == 429:
        assert "retry-after" in response.headers, response.headers


@schemathesis.check
def nobody_else_is_answered(ctx, response, case):
    """A caller that is not known gets nothing of /v1."""
    if ANONYMOUS:
        assert response.status_code in (401, 404, 405, 429), response.status_code


@schemathesis.check
def no_secret_is_told(ctx, response, case):
    """Nothing that was configured as a secret comes back."""
    assert b"DoNotLeak" not in response.content
