"""The API under schemathesis: whatever fits its description or does not, is answered without an error of its own.

502 to 504 are other servers' errors and are described; 500 never is.
"""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

EXAMPLES = 6  # of each of the 19 operations, well-formed ones and others
BUSY = (502, 503, 504)


def test_no_request_makes_the_gateway_fail(serve, triton):
    gateway = serve(requests_per_minute=100_000, upload_bytes=200_000)
    known = gateway.portrait()
    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    statuses: dict[str, set[int]] = {}

    def fuzz(operation, mode):
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def run(case):
            if "portrait_id" in (case.path_parameters or {}) and mode is GenerationMode.POSITIVE:
                case.path_parameters["portrait_id"] = known
            response = case.call(timeout=30)
            statuses.setdefault(f"{case.method} {operation.path}", set()).add(response.status_code)
            checks = [status_code_conformance, response_schema_conformance]
            if response.status_code not in BUSY:
                checks.append(not_a_server_error)
            case.validate_response(response, checks=checks)

        run()

    for result in schema.get_all_operations():
        operation = result.ok()
        modes = [GenerationMode.POSITIVE]
        if operation.body or operation.query or operation.path_parameters:
            modes.append(GenerationMode.NEGATIVE)
        for mode in modes:
            fuzz(operation, mode)
    assert len(statuses) >= 17, statuses
    assert 500 not in set().union(*statuses.values())
    assert 202 in statuses["POST /v1/videos"] or 400 in statuses["POST /v1/videos"]
    assert gateway.http.get("/healthz").status_code == 200
