"""From a request to an answer: parse the input, run the handler, explain what goes wrong."""

from collections.abc import Mapping

from ..errors import SeptemberError
from . import errors, wire
from .endpoint import Answer, AnyEndpoint, Exchange, Service
from .visit import Visit


async def dispatch(
    endpoint: AnyEndpoint, service: Service, visit: Visit, path: Mapping[str, str]
) -> Answer | SeptemberError:
    """What `endpoint` answers to this visit, or why it does not."""
    visit.route = endpoint.path
    try:
        given = _input(endpoint, visit)
        answer: Answer = await endpoint.handler(Exchange(service, given, path, visit))
    except (Exception, BaseExceptionGroup) as error:
        return errors.explain(error)
    return answer


def _input(endpoint: AnyEndpoint, visit: Visit) -> wire.Input:
    kind: type[wire.Input] = endpoint.takes
    if endpoint.has_body:
        return wire.from_body(visit.body, kind)
    if endpoint.method == "GET":
        return wire.from_query(visit.query, kind)
    return kind()
