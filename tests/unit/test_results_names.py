from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.results.names import UniqueNames, directory_name, file_name


def test_a_sims_directory_keeps_letters_digits_dashes_and_underscores() -> None:
    assert directory_name("relay-2_nat") == "relay-2_nat"
    assert directory_name("a b/c.d:é") == "a_b_c_d__"
    assert directory_name("") == "_"


def test_a_devices_name_stays_as_it_is() -> None:
    assert file_name("büro-1.lan") == "büro-1.lan"


@given(st.text(max_size=400))
def test_a_file_name_is_one_visible_path_component(name: str) -> None:
    safe = file_name(name)
    assert safe
    assert "/" not in safe
    assert "\0" not in safe
    assert not safe.startswith(".")
    assert len(safe.encode()) <= 180


def test_a_taken_name_gets_a_number() -> None:
    names = UniqueNames()
    assert [names.claim(name) for name in ("a", "a", "a-2", "a")] == ["a", "a-2", "a-2-2", "a-3"]


@given(st.lists(st.text(max_size=5), unique=True))
def test_different_keys_never_share_a_file(keys: list[str]) -> None:
    names = UniqueNames()
    assert len({names.file_of(key) for key in keys}) == len(keys)
    assert [names.file_of(key) for key in keys] == [names.file_of(key) for key in keys]
