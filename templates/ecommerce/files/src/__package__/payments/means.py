"""Means of payment: what each needs, and the checks that need no provider."""

from __future__ import annotations

from dataclasses import dataclass, field

from prodkit.errors import FieldViolation, InvalidArgumentError

from ..contract.payments.v1.payments_pb2 import PaymentDetails

#: The details that each method needs.
REQUIRED = {
    "credit_card": ("card_number", "expiry_month", "expiry_year", "cvv"),
    "wallet": ("wallet_id",),
    "bank_transfer": ("iban",),
}


@dataclass(frozen=True, slots=True)
class Means:
    """A means of payment on its way to the provider; its repr shows nothing of it."""

    method: str
    number: str = field(repr=False)
    expiry_month: str = field(default="", repr=False)
    expiry_year: str = field(default="", repr=False)
    cvv: str = field(default="", repr=False)


def means_of(method: str, details: PaymentDetails) -> Means:
    """Return what `details` say for `method`; InvalidArgumentError names what is missing or wrong.

    That a card has expired is the provider's to say: its test cards take any date.
    """
    missing = [name for name in REQUIRED[method] if not getattr(details, name)]
    violations = [
        FieldViolation(f"/payment_details/{name}", f"{method} needs it", "required")
        for name in missing
    ]
    if method == "credit_card" and not missing and not passes_luhn(details.card_number):
        violations.append(
            FieldViolation("/payment_details/card_number", "its check digit is wrong", "luhn")
        )
    if violations:
        raise InvalidArgumentError("the payment details do not serve", violations=violations)
    if method == "credit_card":
        return Means(
            method,
            details.card_number,
            details.expiry_month,
            details.expiry_year,
            details.cvv,
        )
    return Means(method, details.wallet_id if method == "wallet" else details.iban)


def passes_luhn(number: str) -> bool:
    """Say whether the last digit checks the others (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
