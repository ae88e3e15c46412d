"""Personal data that has a form: e-mail addresses, phone, card and account numbers, IP addresses.

Numbers count only where their check digits are right (cards by Luhn and with a known beginning, IBANs by
their country's rules) or where they are written as international phone numbers. Names and addresses have no
form, and are not looked for.
"""

import ipaddress
import re
from collections.abc import Iterator

import phonenumbers
from stdnum import iban, luhn
from stdnum.exceptions import ValidationError

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[A-Za-z]{2,24}\b")
_NOBODYS = re.compile(
    r"@(?:[\w-]+\.)*(?:example|test|invalid|localhost)(?:\.(?:com|org|net))?$", re.IGNORECASE
)
_IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]|/\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}\b")
_CARD = re.compile(r"(?<![\d.-])(?<![A-Z]{2}\d{2} )[3-6]\d(?:[ -]?\d){11,17}(?![\d.-])")
_PHONE = re.compile(r"(?:\+|\b00)[1-9][\d ()./-]{6,22}")
_NORTH_AMERICAN = re.compile(r"(?<![\d.-])(?:\(\d{3}\) ?|\d{3}-)\d{3}-\d{4}(?![\d-])")
_DIGITS = re.compile(r"\d(?:\D{0,3}\d){5}")
_CARD_DIGITS = range(13, 20)


def find_personal_data(text: str) -> Iterator[tuple[str, str]]:
    """Find what looks like personal data.

    :param text: any text.
    :yields: what it is (``e-mail``, ``phone``, ``card``, ``IBAN``, ``IP``), and where it stands, verbatim.
    """
    if "@" in text:
        yield from (("e-mail", found[0]) for found in _EMAIL.finditer(text) if not _NOBODYS.search(found[0]))
    if not _DIGITS.search(text):
        return
    yield from (("IP", found[0]) for found in _IP.finditer(text) if _is_public(found[0]))
    yield from (("IBAN", found[0]) for found in _IBAN.finditer(text) if iban.is_valid(found[0]))
    yield from (("card", found[0]) for found in _CARD.finditer(text) if _is_card(found[0]))
    for found in _PHONE.finditer(text):
        international = f"+{found[0].removeprefix('00').removeprefix('+')}"
        for match in phonenumbers.PhoneNumberMatcher(international, None):
            begin = "00" if found[0].startswith("00") else "+"
            yield "phone", match.raw_string.replace("+", begin, 1)
    yield from (("phone", found[0]) for found in _NORTH_AMERICAN.finditer(text))


def mask_personal_data(text: str) -> str:
    """Put what it is in the place of what looks like personal data, such as ``[phone]``."""
    for name, found in sorted(set(find_personal_data(text)), key=lambda entry: -len(entry[1])):
        text = text.replace(found, f"[{name}]")
    return text


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _is_card(number: str) -> bool:
    digits = re.sub(r"\D", "", number)
    if len(digits) not in _CARD_DIGITS or len(set(digits)) < 2:
        return False
    try:
        luhn.validate(digits)
    except ValidationError:
        return False
    return True
