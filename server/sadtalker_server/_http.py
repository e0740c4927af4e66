"""One HTTP request to the server itself, past any proxy of the environment."""

from http.client import HTTPConnection, HTTPException


def get(host: str, port: int, path: str) -> tuple[int, str]:
    """Status and text of `path`; raises OSError when there is no answer within 5 seconds."""
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()
