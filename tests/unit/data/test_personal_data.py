"""Personal data: recognized by its check digits, and left out of what a report quotes."""

import json
from dataclasses import asdict

from cl_haystack.data import Pair
from cl_haystack.data.curation import check_pairs
from cl_haystack.data.curation.personal_data import find_personal_data


def test_personal_data_has_right_check_digits():
    text = "mail joe@acme.io, call +49 30 901820 or (415) 555-2671, pay from DE89 3704 0044 0532 0130 00 or "
    text += "4111 1111 1111 1111, log in from 8.8.8.8"
    assert [name for name, _ in find_personal_data(text)] == [
        "e-mail",
        "IP",
        "IBAN",
        "card",
        "phone",
        "phone",
    ]
    for text in (
        "user@example.com at 192.168.0.1 with version 1.2.3.4.5",
        "DE89 3704 0044 0532 0130 01 and 4111 1111 1111 1112",
        "p < 0.001, 95% CI 1.2-3.4, n = 12,345 (1998-2004), ISRCTN 12345678",
    ):
        assert not list(find_personal_data(text))


def test_a_report_quotes_lines_without_their_personal_data(tmp_path):
    personal = ["joe.doe@acme.io", "+49 30 901820", "0049 30 901821", "4111 1111 1111 1111"]
    anchor = f"Mail {personal[0]} or call {personal[1]}, {personal[2]}, {personal[0]}: the card {personal[3]}"
    pair = Pair(anchor=anchor, positive=f"{'a' * 190} {personal[0]}")
    lines = [pair.model_dump_json(), pair.model_dump_json(), f'{{"anchor": "{anchor}']
    # The message quotes 80 characters, and cuts the address.
    lines.append(f'{{"anchor": "How do I change my address in all of the accounts to {personal[0]}"')
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    report = check_pairs(tmp_path / "pairs.jsonl", tmp_path / "clean.jsonl")
    assert report.found == {"malformed": 2, "duplicate": 1, "personal-data": 2}
    told = json.dumps(asdict(report), ensure_ascii=False)
    assert not [text for text in (*personal, "joe.doe", "+49 30") if text in told]
    first = report.examples["personal-data"][0]
    assert first.detail == "card, e-mail, phone"
    assert first.anchor == "Mail [e-mail] or call [phone], [phone], [e-mail]: the card [card]"
    assert "expected one JSON object" in report.examples["malformed"][1].detail
    assert personal[0] in (tmp_path / "clean.jsonl").read_text()  # the pairs are as they were
