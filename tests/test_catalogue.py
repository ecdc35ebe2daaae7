"""`selfsight list-methods`."""

from __future__ import annotations

from selfsight.catalogue import ListMethods, list_methods
from selfsight.methods import METHODS


def test_each_method_has_paper_needs_and_cost() -> None:
    catalogue = list_methods(ListMethods())
    assert [entry.name for entry in catalogue] == list(METHODS)
    by_name = {entry.name: entry for entry in catalogue}
    assert by_name["simclr"].cost == 2.0 and by_name["simclr"].needs == ()
    assert by_name["supervised"].needs == ("labels",)
    assert by_name["dino"].views > 2 and by_name["dino"].cost < by_name["dino"].views
    text = str(catalogue)
    assert all(name in text and METHODS[name].paper in text for name in METHODS)
    assert "<td>vicreg</td>" in catalogue._repr_html_()
