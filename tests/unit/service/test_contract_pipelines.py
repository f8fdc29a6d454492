import io
from dataclasses import replace

import pytest

from prodkit import Principal
from prodkit.contract import Contract, IdempotencyKey, RateOption
from prodkit.errors import ConfigurationError
from prodkit.policies.idempotency import principal_and_operation
from prodkit.security.authorization import Access, Authenticate
from prodkit.service.contract_pipelines import ContractPipelines
from prodkit.stores.memory import MemoryIdempotencyStore
from prodkit.telemetry.sink import LineSink
from prodkit.telemetry.telemetry import Telemetry
from prodkit.transports.rpc.method import MethodInfo

CREATE, GET = "/library.v1.Library/CreateBook", "/library.v1.Library/GetBook"


class Anybody:
    def known(self, token):
        return Principal(token)

    async def verify(self, token):
        return Principal(token)


@pytest.fixture
def contract(library):
    return Contract.load(library.pb)


@pytest.fixture
def pipelines(contract):
    def pipelines(contract=contract, **options):
        telemetry = Telemetry("library", log=LineSink(io.BytesIO()))
        defaults = {"idempotency": MemoryIdempotencyStore(), "secret": bytes(16)}
        return ContractPipelines(
            contract,
            telemetry=telemetry,
            authenticate=Authenticate(Anybody()),
            **defaults | options,
        )

    return pipelines


def names(pipeline):
    return [type(member).__name__ for member in pipeline.members]


def changed(contract, method, **options):
    return Contract([replace(contract[method], **options)])


def test_a_method_gets_what_its_options_ask_for(pipelines):
    always = ["Observe", "Authenticate", "Authorize", "Deadline"]
    made = pipelines()
    assert names(made(MethodInfo(GET))) == [*always, "Validate"]
    assert names(made(MethodInfo(CREATE))) == [*always, "RateLimiter", "Validate", "Idempotency"]
    assert names(made.unknown) == ["Observe"]


def test_the_contract_decides_access_and_rate(pipelines):
    authorize, rate = (pipelines()(MethodInfo(CREATE)).members[n] for n in (2, 4))
    assert authorize.access == Access(permission="books:write")
    [limit] = rate.rates
    assert (limit.limit, limit.per, rate.name) == (10, 60.0, CREATE[1:])


def test_a_public_method_is_limited_without_a_principal(pipelines, contract):
    public = changed(contract, GET, rate=RateOption(5, 1.0, 5))
    pipeline = pipelines(public)(MethodInfo(GET))
    assert names(pipeline)[4] == "RateLimiter"
    assert not pipeline.members[4].traits


def test_a_public_method_with_a_key_names_its_scope(pipelines, contract):
    public = changed(contract, GET, idempotency=IdempotencyKey.ACCEPTED)
    with pytest.raises(ConfigurationError, match=r"GetBook.*scopes"):
        pipelines(public)(MethodInfo(GET))
    made = pipelines(public, scopes={GET: principal_and_operation})
    assert names(made(MethodInfo(GET)))[-1] == "Idempotency"


def test_a_key_needs_a_store(pipelines):
    with pytest.raises(ConfigurationError, match="CreateBook"):
        pipelines(idempotency=None)(MethodInfo(CREATE))


def test_keys_are_leased_for_as_long_as_asked(pipelines):
    assert pipelines(lease=6.0)(MethodInfo(CREATE)).members[-1]._terms.lease == 6.0
