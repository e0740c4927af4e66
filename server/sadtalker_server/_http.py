"""One HTTP request to a server of this machine, bypassing any proxy of the environment."""

from http.client import HTTPConnection, HTTPException

_LONGEST_PAGE = 16 << 20


def get(host: str, port: int, path: str, timeout: float = 5.0) -> tuple[int, str]:
    """Return the status and text of `path`; raises OSError when there is no answer within `timeout` seconds."""
    connection = HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(_LONGEST_PAGE).decode(errors="replace")
    except HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()
