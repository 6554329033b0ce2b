import pytest

from siprec.sip.dialog import DialogState, confirm, dialog_from_invite, dialog_from_response
from siprec.sip.dialog_table import DialogTable
from siprec.sip.responses import build_response
from tests.sip.wire import UDP, request


def dialog(*extra, **fields):
    return dialog_from_invite(request("INVITE", *extra, **fields), local_tag="ours", flow=UDP)


def test_an_incoming_invite_gives_tags_target_and_routes_in_order():
    made = dialog("Record-Route: <sip:a;lr>, <sip:b;lr;x=1>", "Record-Route: <sip:c;lr>", cseq="7 INVITE")
    assert (made.call_id, made.local_tag, made.remote_tag) == ("call-1", "ours", "peer")
    assert made.remote_target == "sip:src@192.0.2.9:5062"
    assert made.route_set == ("<sip:a;lr>", "<sip:b;lr;x=1>", "<sip:c;lr>")
    assert made.remote_cseq == 7


def test_our_requests_swap_the_parties_and_count_up():
    made = dialog("Record-Route: <sip:192.0.2.3;lr>")
    bye = made.next_request("BYE")
    assert (bye.uri, str(bye.cseq)) == ("sip:src@192.0.2.9:5062", "1 BYE")
    assert bye.headers.get("From") == "<sip:rec@192.0.2.1>;tag=ours"
    assert bye.headers.get("To") == "<sip:src@192.0.2.9>;tag=peer"
    assert bye.headers.get_all("Route") == ["<sip:192.0.2.3;lr>"]
    assert made.next_hop() == "sip:192.0.2.3;lr"
    assert made.next_request("OPTIONS").cseq.number == 2


def test_a_strict_router_gets_the_request_itself():
    made = dialog("Record-Route: <sip:strict>, <sip:b;lr>")
    bye = made.next_request("BYE")
    assert bye.uri == "sip:strict"
    assert bye.headers.get_all("Route") == ["<sip:b;lr>", "<sip:src@192.0.2.9:5062>"]


def test_a_port_that_is_no_number_in_a_route_does_not_matter():
    made = dialog("Record-Route: <sip:proxy:remote_port;lr>, ;broken")
    assert made.next_request("BYE").headers.get_all("Route") == ["<sip:proxy:remote_port;lr>"]


def test_without_a_contact_the_target_is_from():
    assert dialog(contact="<>").remote_target == "sip:src@192.0.2.9"


def test_a_target_refresh_takes_the_new_contact_and_a_bad_one_changes_nothing():
    made = dialog()
    made.refresh_target(request("UPDATE", contact="<sip:new@192.0.2.9"))
    assert made.remote_target == "sip:new@192.0.2.9"
    made.refresh_target(request("UPDATE", contact="<>"))
    assert made.remote_target == "sip:new@192.0.2.9"


@pytest.mark.parametrize(
    ("method", "number", "accepted"),
    [
        ("INVITE", 6, False),
        ("OPTIONS", 6, False),
        ("UPDATE", 7, True),
        ("UPDATE", 900, True),
        ("BYE", 7, True),
        ("BYE", 1, True),
        ("ACK", 1, True),
    ],
)
def test_lower_sequence_numbers_are_refused_but_for_bye_and_ack(method, number, accepted):
    made = dialog(cseq="7 INVITE")
    assert made.accept_cseq(request(method, cseq=f"{number} {method}")) is accepted


def test_our_invite_gets_its_route_set_reversed_and_again_from_the_2xx():
    ours = request("INVITE")
    early = build_response(ours, 180, to_tag="x", headers=[("Record-Route", "<sip:a;lr>, <sip:b;lr>")])
    made = dialog_from_response(ours, early, flow=UDP)
    assert made.route_set == ("<sip:b;lr>", "<sip:a;lr>")
    final = build_response(
        ours, 200, to_tag="x", headers=[("Record-Route", "<sip:c;lr>"), ("m", "<sip:s@h>")]
    )
    confirm(made, final)
    assert (made.route_set, made.remote_target) == (("<sip:c;lr>",), "sip:s@h")
    assert made.next_request("BYE").headers.get("CSeq") == "2 BYE"


def in_dialog(method, to="<sip:someone@else>;tag=ours", **fields):
    return request(method, to=to, **fields)


def test_dialogs_are_found_by_call_id_and_tags_whatever_the_uris_say():
    table = DialogTable()
    made = dialog()
    table.add(made)
    assert table.find(in_dialog("BYE", from_='"New Name" <sip:new@x>;tag=peer')) is made
    assert table.find(in_dialog("BYE", to="<sip:x@y>;tag=wrong")) is None
    assert table.find(in_dialog("BYE", from_="<sip:src@192.0.2.9>;tag=other")) is None
    assert table.find(in_dialog("BYE", call_id="other")) is None


def test_requests_without_to_tag_belong_to_the_only_dialog():
    table = DialogTable()
    made = dialog()
    table.add(made)
    for method in ("BYE", "ACK", "UPDATE", "INFO"):
        assert table.find(in_dialog(method, to="<sip:x@y>")) is made
    assert table.find(in_dialog("OPTIONS", to="<sip:x@y>")) is None
    second = dialog_from_invite(request("INVITE"), local_tag="ours2", flow=UDP)
    table.add(second)
    assert table.find(in_dialog("BYE", to="<sip:x@y>")) is None
    table.remove(made)
    assert table.find(in_dialog("BYE", to="<sip:x@y>")) is second


def test_an_invite_without_to_tag_belongs_to_a_confirmed_dialog_if_it_goes_on_counting():
    table = DialogTable()
    made = dialog()
    table.add(made)
    again = in_dialog("INVITE", to="<sip:x@y>", cseq="8 INVITE")
    assert table.find(again) is None, "the first one may still be refused"
    made.state, made.remote_cseq = DialogState.CONFIRMED, 7
    assert table.find(again) is made
    assert table.find(in_dialog("INVITE", to="<sip:x@y>", cseq="7 INVITE")) is None
    table.add(dialog_from_invite(request("INVITE"), local_tag="ours2", flow=UDP))
    assert table.find(again) is None


def test_a_peer_without_from_tag_has_dialogs_too():
    table = DialogTable()
    made = dialog(from_="sip:src@192.0.2.9")
    table.add(made)
    assert table.find(in_dialog("BYE", from_="sip:src@192.0.2.9")) is made
    table.remove(made)
    table.remove(made)
    assert len(table) == 0
    assert list(table) == []
