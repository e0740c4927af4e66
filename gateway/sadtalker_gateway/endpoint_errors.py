"""Errors of OpenAI-compatible endpoints, told as the gateway's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from openai import APIConnectionError, APIError, APIStatusError


@contextmanager
def endpoint_errors(endpoint: str, error_type: Callable[[str], Exception]) -> Iterator[None]:
    """Turn errors of the openai package into errors of a type; `endpoint` is what messages call the endpoint."""
    try:
        yield
    except APIStatusError as error:
        raise error_type(f"{endpoint} answered {error.status_code}: {error.message}") from error
    except APIConnectionError as error:
        raise error_type(f"{endpoint} cannot be reached: {error}") from error
    except APIError as error:
        raise error_type(f"{endpoint} failed: {error}") from error
