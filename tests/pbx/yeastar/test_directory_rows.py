"""Rows of the directory as the P-Series web API writes them."""

from onhook.pbx.yeastar import directory_rows


def test_extension_row_has_both_parts_of_the_name() -> None:
    row = directory_rows.format_extension(7, "1001", "Alice Mary Smith")
    assert row == {
        "id": 7,
        "number": "1001",
        "caller_id_name": "Alice Mary Smith",
        "first_name": "Alice",
        "last_name": "Mary Smith",
        "email_addr": "",
        "mobile_number": "",
    }
    assert directory_rows.format_extension(8, "1002", "Bob")["last_name"] == ""


def test_queue_row_has_empty_lists_of_agents() -> None:
    row = directory_rows.format_queue(1, "6400", "Support")
    assert (row["number"], row["name"]) == ("6400", "Support")
    assert [name for name, value in row.items() if value == []] == [
        "dynamic_agent_list",
        "static_agent_list",
        "manager_list",
    ]


def test_rows_of_other_kinds_have_their_members() -> None:
    assert directory_rows.format_numbered(2, "6200", "Welcome") == {"id": 2, "number": "6200", "name": "Welcome"}
    assert directory_rows.format_trunk(3, "carrier", "Carrier") == {"id": 3, "name": "Carrier", "status": 0}
    assert directory_rows.format_contact(4, "+4930901820", "Ada") == {
        "id": 4,
        "contact_name": "Ada",
        "company": "",
        "business": "+4930901820",
        "phonebook_list": [],
    }
