from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from sttp_reactor.client import Endpoint
from sttp_reactor.load.draws import BLOCK, Distribution, make_draws, parse_distribution
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.plan import (
    Plan,
    parse_count,
    parse_mix,
    parse_rate,
    parse_seconds,
    parse_seed,
    parse_sizes,
)
from sttp_reactor.load.target import Target, check_directory, parse_target
from sttp_reactor.load.texts import describe, directory_of, name_of, text_of
from sttp_reactor.wire.grammar import fault_of_path


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("50", 50), ("20k", 20_000), ("1.5K", 1500), ("2m", 2_000_000)],
)
def test_counts(text: str, value: int) -> None:
    assert parse_count(text, "-c") == value


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "k", "ten", "1e3", "1 000", "٣"])
def test_wrong_counts(text: str) -> None:
    with pytest.raises(LoadError, match="-c: expected a whole number"):
        parse_count(text, "-c")


def test_a_count_has_a_largest() -> None:
    assert parse_count("10", "-P", 10) == 10
    with pytest.raises(LoadError, match="at most 10"):
        parse_count("11", "-P", 10)


@pytest.mark.parametrize(
    ("text", "value"), [("10s", 10.0), ("10", 10.0), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0), ("0.5s", 0.5)]
)
def test_times(text: str, value: float) -> None:
    assert parse_seconds(text, "-d") == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "0s", "", "s", "-1s", "1d", "1 s", "inf"])
def test_wrong_times(text: str) -> None:
    with pytest.raises(LoadError, match="-d: expected a time"):
        parse_seconds(text, "-d")


def test_a_warm_up_may_be_nothing() -> None:
    assert parse_seconds("0", "-w", zero=True) == 0


@pytest.mark.parametrize(("text", "value"), [("1000", 1000.0), ("20k", 20_000.0), ("0.5", 0.5), ("100/s", 100.0)])
def test_rates(text: str, value: float) -> None:
    assert parse_rate(text) == value


@pytest.mark.parametrize("text", ["0", "", "fast", "-1"])
def test_wrong_rates(text: str) -> None:
    with pytest.raises(LoadError, match="-r: "):
        parse_rate(text)


def test_mix() -> None:
    assert parse_mix("update=10,show=90,list=0") == (("SHOW", 90.0), ("UPDATE", 10.0))
    assert parse_mix("delete=1") == (("DELETE", 1.0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no action"),
        ("read=1", "'read' is no action"),
        ("show", "expected action=weight"),
        ("show=", "expected action=weight"),
        ("show=-1", "expected action=weight"),
        ("show=inf", "expected action=weight"),
        ("show=1,show=2", "show is named twice"),
        ("show=0", "every weight is 0"),
    ],
)
def test_wrong_mixes(text: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        parse_mix(text)


def test_sizes() -> None:
    assert parse_sizes("1-160") == (1, 160)
    assert parse_sizes("40") == (40, 40)


@pytest.mark.parametrize("text", ["0", "161", "5-4", "1-161", "", "-", "a-b", "1-"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(LoadError, match="--size"):
        parse_sizes(text)


def test_seeds() -> None:
    assert parse_seed("0") == 0
    with pytest.raises(LoadError, match="--seed"):
        parse_seed("x")


@pytest.mark.parametrize("text", ["uniform", "zipf:1.1", "hot:80/20", "seq"])
def test_a_distribution_reads_back_as_it_is_written(text: str) -> None:
    assert str(parse_distribution(text)) == text


@pytest.mark.parametrize("text", ["", "normal", "zipf:0", "zipf:x", "hot:80", "hot:0/20", "hot:100/20", "seq:1"])
def test_wrong_distributions(text: str) -> None:
    with pytest.raises(LoadError, match="--dist: expected"):
        parse_distribution(text)


@pytest.mark.parametrize("text", ["uniform", "zipf:1.1", "hot:80/20", "seq"])
@pytest.mark.parametrize("keys", [1, 3, 1000])
def test_draws_stay_among_the_keys_and_repeat_with_the_seed(text: str, keys: int) -> None:
    first, second = (make_draws(parse_distribution(text), keys, "7") for _ in range(2))
    blocks = [first(), first()]
    assert [second(), second()] == blocks
    assert all(len(block) == BLOCK and 0 <= min(block) <= max(block) < keys for block in blocks)


def test_another_seed_draws_otherwise() -> None:
    assert make_draws(Distribution(), 1000, "1")() != make_draws(Distribution(), 1000, "2")()


def _shares(text: str, keys: int) -> Callable[[range], float]:
    draw = make_draws(parse_distribution(text), keys, "1")
    counts = Counter(key for _ in range(20) for key in draw())
    return lambda some: sum(counts[key] for key in some) / (20 * BLOCK)


def test_hot_keys_get_their_share() -> None:
    share = _shares("hot:80/20", 100)
    assert share(range(20)) == pytest.approx(0.8, abs=0.02)
    assert share(range(10)) == pytest.approx(0.4, abs=0.02)


def test_zipf_halves_at_the_second_key() -> None:
    share = _shares("zipf:1", 100)
    assert share(range(1, 2)) == pytest.approx(share(range(1)) / 2, rel=0.1)


def test_a_sequence_goes_round() -> None:
    draw = make_draws(parse_distribution("seq"), 3, "1")
    taken = [block.pop() for block in [draw()] for _ in range(7)]
    assert taken == [0, 1, 2, 0, 1, 2, 0]
    rest = draw()
    assert rest.pop() == BLOCK % 3


def test_texts_have_their_size_and_name_their_write() -> None:
    for size in range(1, 161):
        for version in (0, 7, 123_456_789):
            text = text_of(999_999, "p15c10000", version, size)
            assert len(text) == len(text.decode()) == size
            assert text == text.strip()
    assert text_of(12, "p0c3", 7, 40).startswith(b"12:p0c3.7 ")
    assert describe(text_of(12, "p0c3", 7, 40), 12) == "version 7 of writer p0c3"
    assert describe(text_of(12, "p0c3", 7, 9), 12) == "version 7 of writer p0c3"
    assert describe(text_of(12, "p0c3", 7, 40), 13) == "the text of key 12"
    assert describe(b"Buy milk", 13) == "a text that no writer of this run has sent"


def test_texts_of_one_size_differ() -> None:
    for size in (20, 40, 160):
        assert len({text_of(key, "p0c0", version, size) for key in range(20) for version in range(20)}) == 400


def test_keys_keep_their_order_within_a_directory() -> None:
    names = [name_of(key) for key in range(100)]
    assert names == sorted(names)
    assert directory_of("/b/", 0, 99) == "/b/0.0/"
    assert directory_of("/b/", 3, 100) == "/b/3.1/"


def test_plans_that_contradict_themselves() -> None:
    with pytest.raises(LoadError, match="-j 3 needs"):
        Plan(processes=3, connections=2).check()
    writes = (("UPDATE", 1.0),)
    with pytest.raises(LoadError, match="--keys 1 is too few"):
        Plan(processes=2, keys=1, mix=writes).check()
    Plan(processes=2, keys=1).check()


def test_keys_are_shared_only_where_nobody_writes() -> None:
    assert Plan(processes=2, keys=10).shards == 1
    assert Plan(processes=2, keys=10, mix=(("SHOW", 1.0), ("DELETE", 1.0))).keys_per_shard == 5


def test_what_exists_at_the_start() -> None:
    def present(*actions: str) -> list[bool]:
        plan = Plan(mix=tuple((action, 1.0) for action in actions))
        return [plan.starts_present(key) for key in (0, 1)]

    assert present("SHOW", "UPDATE", "DELETE") == [True, True]
    assert present("SHOW", "CREATE", "DELETE") == [True, False]
    assert present("CREATE") == [False, False]


@pytest.mark.parametrize(
    ("text", "address", "directory"),
    [
        ("sttp://h:81/dir", "h:81", "/dir/"),
        ("h:81/a/b/", "h:81", "/a/b/"),
        ("h:81/a%C3%A9", "h:81", "/aé/"),
        ("h:81", "h:81", "/sttpbench/"),
        ("sttp://h/", "h:8080", "/sttpbench/"),
        ("[::1]:81", "[::1]:81", "/sttpbench/"),
        ("h", "h:8080", "/sttpbench/"),
        ("h/d", "h:8080", "/d/"),
        ("/d", "127.0.0.1:8080", "/d/"),
        ("unix:/run/s", "unix:/run/s", "/sttpbench/"),
    ],
)
def test_targets(text: str, address: str, directory: str) -> None:
    target = parse_target(text)
    assert (str(target), target.directory) == (address, directory)


@pytest.mark.parametrize(
    "text", ["http://h/", "h:0", "unix:x", "h:81/a//b", "h:81/../b", "h:81/.sttp", "h:81/a%20b", "h:81/%0a"]
)
def test_wrong_targets(text: str) -> None:
    with pytest.raises(LoadError):
        parse_target(text)


@pytest.mark.parametrize(
    "directory", ["/a" * 63, "/.sttpx", "/a\x85", "/\udcff", "/a//b", "/a/./b", "/a b", "relative"]
)
def test_a_directory_whose_keys_no_server_would_take(directory: str) -> None:
    with pytest.raises(LoadError) as refusal:
        check_directory(directory)
    fault = fault_of_path(f"{directory}/0.0/00".encode(errors="surrogatepass"))
    assert str(refusal.value) == f"{directory}/: {fault}"


def test_a_directory_whose_keys_are_as_deep_as_may_be() -> None:
    assert check_directory("/a" * 62 + "//") == "/a" * 62 + "/"


def test_a_target_by_tls_has_a_port_of_its_own() -> None:
    assert parse_target("sttps://localhost/d/") == Target(Endpoint("localhost", 8443, True), "/d/")
    assert str(parse_target("STTPS://[::1]:9443")) == "sttps://[::1]:9443"
