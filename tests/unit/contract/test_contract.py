import importlib
import itertools
import sys

import pytest

from prodkit.contract import Contract, IdempotencyKey, RateOption, SloOption
from prodkit.contract.compile import compile_contracts
from prodkit.errors import ConfigurationError
from prodkit.security.authorization import Access

numbers = itertools.count()
PUBLIC = "option (prodkit.v1.method) = {access: {public: true}};"


@pytest.fixture
def load(tmp_path):
    """Compile and load a contract made of methods and messages, under a name of its own."""

    def load(methods: str, messages: str = "") -> Contract:
        name = f"contract{next(numbers)}"
        (tmp_path / f"{name}.proto").write_text(f"""
            syntax = "proto3";
            package {name};
            import "buf/validate/validate.proto";
            import "google/api/annotations.proto";
            import "prodkit/v1/options.proto";
            message Toy {{ string id = 1; repeated string tags = 2; Toy inner = 3; }}
            {messages}
            service Toys {{ {methods} }}
        """)
        for file in compile_contracts([tmp_path / f"{name}.proto"], [tmp_path]):
            file.write()
        sys.path.insert(0, str(tmp_path))
        try:
            return Contract.load(importlib.import_module(f"{name}_pb2"))
        finally:
            sys.path.remove(str(tmp_path))

    return load


def test_what_a_method_says(library):
    create = Contract.load(library.pb)["/library.v1.Library/CreateBook"]
    assert create.service == "library.v1.Library"
    assert create.access == Access(permission="books:write")
    assert create.idempotency is IdempotencyKey.REQUIRED
    assert create.success_status == 201
    assert create.deadline == 5.0
    assert create.rate == RateOption(limit=10, per=60.0, burst=10)
    assert create.slo == SloOption(objective=0.999, latency=0.3)
    assert create.safe is None
    assert (create.input.name, create.output.name) == ("CreateBookRequest", "Book")
    (binding,) = create.bindings
    assert (binding.verb, binding.template.text, binding.body) == ("POST", "/api/v1/books", "*")


def test_what_a_method_does_not_say(library):
    contract = Contract.load(library.pb)
    get = contract["/library.v1.Library/GetBook"]
    assert get.idempotency is IdempotencyKey.NONE
    assert get.success_status == 200
    assert (get.deadline, get.rate, get.slo) == (None, None, None)
    assert contract["/library.v1.Library/CountBooks"].bindings == ()


@pytest.mark.parametrize(
    ("method", "safe"), [("GetBook", True), ("UpdateBook", True), ("DeleteBook", None)]
)
def test_idempotent_counts_as_safe(library, method, safe):
    assert Contract.load(library.pb)[f"/library.v1.Library/{method}"].safe is safe


def test_additional_bindings(library):
    get = Contract.load(library.pb)["/library.v1.Library/GetBook"]
    assert [binding.template.text for binding in get.bindings] == [
        "/api/v1/books/{id}",
        "/api/v1/catalog/books/{id}",
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "no access option"),
        ("option (prodkit.v1.method) = {success_status: 201};", "no access option"),
        ("option (prodkit.v1.method) = {access: {}};", "access names nobody"),
        (
            "option (prodkit.v1.method) = {access: {public: true} success_status: 404};",
            "success_status",
        ),
        (
            "option (prodkit.v1.method) = "
            '{access: {public: true} reason_status: {key: "GONE" value: 503}};',
            "reason_status: GONE",
        ),
        ("option (prodkit.v1.method) = {access: {public: true} deadline: {}};", "deadline"),
        ("option (prodkit.v1.method) = {access: {public: true} rate: {limit: 3}};", r"rate\.per"),
        (
            "option (prodkit.v1.method) = {access: {public: true} rate: {per: {seconds: 1}}};",
            r"rate\.limit",
        ),
        (
            "option (prodkit.v1.method) = {access: {public: true} slo: {objective: 99.9}};",
            r"slo\.objective",
        ),
        (PUBLIC + 'option (google.api.http) = {get: "/toys/{name}"};', "no field 'name'"),
        (PUBLIC + 'option (google.api.http) = {get: "/toys/{tags}"};', "must be a scalar"),
        (PUBLIC + 'option (google.api.http) = {get: "/toys/{tags.id}"};', "no field"),
        (PUBLIC + 'option (google.api.http) = {get: "/toys" body: "*"};', "GET has no body"),
        (PUBLIC + 'option (google.api.http) = {post: "/toys" body: "toy"};', "for a body"),
        (PUBLIC + 'option (google.api.http) = {get: "toys"};', "begin with a slash"),
        (
            PUBLIC + 'option (google.api.http) = {get: "/toys" response_body: "id"};',
            "response_body",
        ),
    ],
)
def test_what_is_refused_at_start(load, body, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(f"rpc GetToy(Toy) returns (Toy) {{ {body} }}")
    assert "Toys/GetToy: " in str(caught.value)


def test_two_methods_with_one_path_are_refused(load):
    with pytest.raises(ConfigurationError, match=r"already bound by /contract.*/A"):
        load(f"""
            rpc A(Toy) returns (Toy) {{
              {PUBLIC} option (google.api.http) = {{get: "/toys/{{id}}"}}; }}
            rpc B(Toy) returns (Toy) {{
              {PUBLIC} option (google.api.http) = {{get: "/toys/{{inner.id}}"}}; }}
        """)


def test_a_stream_of_requests_has_no_binding(load):
    with pytest.raises(ConfigurationError, match="stream of requests"):
        load(f"""rpc A(stream Toy) returns (Toy) {{
              {PUBLIC} option (google.api.http) = {{post: "/toys" body: "*"}}; }}""")


KEYED = """option (prodkit.v1.method) = {
    access: {public: true} idempotency_key: IDEMPOTENCY_KEY_ACCEPTED };"""


def test_answers_with_secrets_take_no_key(load):
    with pytest.raises(ConfigurationError, match=r"holds a secret, contract.*\.Token\.value"):
        load(
            f"rpc LogIn(Toy) returns (Session) {{ {KEYED} }}",
            """message Token { string value = 1 [debug_redact = true]; }
               message Session { repeated Token tokens = 1; }""",
        )


def test_secrets_in_the_request_do_not_matter(load):
    contract = load(
        f"rpc LogIn(Password) returns (Toy) {{ {KEYED} }}",
        "message Password { string value = 1 [debug_redact = true]; }",
    )
    (method,) = contract.methods.values()
    assert method.idempotency is IdempotencyKey.ACCEPTED


def test_streams_take_no_key(load):
    with pytest.raises(ConfigurationError, match="stream"):
        load(f"rpc Watch(Toy) returns (stream Toy) {{ {KEYED} }}")


def test_a_rule_that_does_not_compile_is_refused(load):
    with pytest.raises(ConfigurationError, match="Bad"):
        load(
            f"rpc A(Bad) returns (Toy) {{ {PUBLIC} }}",
            'message Bad { string id = 1 [(buf.validate.field).cel_expression = "this +"]; }',
        )
