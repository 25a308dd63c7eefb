"""The pytest plugin, in runs of pytest of its own: the mark, the options, the fixtures, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

RACY = """
    import pytest, trio
    from trio_mcp.testing import Conditions, note

    @pytest.mark.explore(seeds=50, conditions=Conditions())
    async def test_race():
        winners = []

        async def run(name):
            await trio.sleep(1)
            winners.append(name)

        async with trio.open_nursery() as nursery:
            for name in ("first", "second"):
                nursery.start_soon(run, name, name=f"race {name}")
        assert winners[0] == "first", f"{winners[0]} won"
"""


class Inner:
    """Runs pytest on one file."""

    def __init__(self, pytester: pytest.Pytester, trio_mode: bool = True) -> None:
        self.pytester = pytester
        self.trio_mode = trio_mode

    def run(self, source: str, *arguments: str) -> pytest.RunResult:
        self.pytester.makepyfile(test_inner=source)
        return self.again(*arguments)

    def again(self, *arguments: str) -> pytest.RunResult:
        own = ["-p", "no:trio-mcp", "-p", "trio_mcp.testing.plugin", "-p", "no:cacheprovider", "--strict-markers"]
        mode = ["-o", f"trio_mode={str(self.trio_mode).lower()}"]
        return self.pytester.runpytest_inprocess(*own, *mode, *arguments)


@pytest.fixture(params=[True, False], ids=["trio_mode", "no trio_mode"])
def inner(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Inner:
    return Inner(pytester, request.param)


@pytest.fixture
def one(pytester: pytest.Pytester) -> Inner:
    return Inner(pytester)


def told(result: pytest.RunResult) -> str:
    return "\n".join(result.outlines)


def command_of(result: pytest.RunResult, option: str) -> list[str]:
    """The arguments of the one command that was told with that option."""
    [command] = {match[1] for match in re.finditer(rf"pytest (\S+ --trio-mcp-{option}=\S+)", told(result))}
    return command.split()


# The mark


def test_a_marked_test_is_run_once_for_each_seed(inner: Inner):
    result = inner.run(
        """
        import pytest, trio
        from trio_mcp.testing import current
        seeds = []

        @pytest.mark.explore(seeds=7)
        async def test_many():
            seeds.append(current().seed)
            await trio.sleep(3600)

        @pytest.mark.explore(3)
        async def test_three():
            seeds.append(current().seed)

        @pytest.mark.explore(seeds=[5, 9])
        async def test_which():
            seeds.append(current().seed)

        @pytest.mark.explore
        async def test_hundred():
            seeds.append(current().seed)

        def test_seeds():
            assert seeds == [*range(7), *range(3), 5, 9, *range(100)]
            assert current() is None
        """,
        "-v",
    )
    result.assert_outcomes(passed=5)
    assert "test_many: 7 runs" in told(result)


def test_a_failure_gives_its_seed_and_commands_that_replay_exactly_it(inner: Inner):
    result = inner.run(RACY)
    result.assert_outcomes(failed=1)
    seed = re.search(r"test_race failed in run \d+, with seed (\d+)", told(result))
    assert seed is not None
    assert "AssertionError: second won" in told(result)
    by_seed, by_file = command_of(result, "seed"), command_of(result, "replay")
    assert by_seed == ["test_inner.py::test_race", f"--trio-mcp-seed={seed[1]}"]
    again = inner.again(*by_seed)
    again.assert_outcomes(failed=1)
    assert f"test_race failed in run 1, with seed {seed[1]}" in told(again)
    kept = Path(by_file[1].partition("=")[2])
    assert (inner.pytester.path / kept).is_file()
    before = (inner.pytester.path / kept).read_bytes()
    replayed = inner.again(*by_file)
    replayed.assert_outcomes(failed=1)
    assert "AssertionError: second won" in told(replayed)
    assert (inner.pytester.path / kept).read_bytes() == before
    other = inner.again("test_inner.py::test_race", "--trio-mcp-seed=0")
    other.assert_outcomes(passed=1)


def test_the_number_of_seeds_can_be_changed_for_a_run(one: Inner):
    source = """
        import pytest
        from trio_mcp.testing import current
        seeds = []

        @pytest.mark.explore(seeds=50)
        async def test_many():
            seeds.append(current().seed)

        def test_seeds():
            assert len(seeds) == {}
        """
    one.run(source.replace("{}", "4"), "--trio-mcp-seeds=4").assert_outcomes(passed=2)
    one.run(source.replace("len(seeds) == {}", "seeds == [23]"), "--trio-mcp-seed=23").assert_outcomes(passed=2)


def test_the_page_of_a_failure_and_of_a_replay_is_written(one: Inner):
    result = one.run(RACY, "--trio-mcp-trace=page.html")
    result.assert_outcomes(failed=1)
    page = one.pytester.path / "page.html"
    assert "race second" in page.read_text(encoding="utf-8")
    page.unlink()
    one.again(*command_of(result, "replay"), "--trio-mcp-trace=page.html").assert_outcomes(failed=1)
    assert "race second" in page.read_text(encoding="utf-8")


def test_a_file_of_no_run_and_one_that_is_not_there_fail_clearly(one: Inner):
    (one.pytester.path / "none.json").write_text("{}")
    result = one.run(RACY, "--trio-mcp-replay=none.json")
    result.assert_outcomes(failed=1)
    assert "no recipe of a simulated run" in told(result)
    missing = one.again("--trio-mcp-replay=missing.json")
    assert missing.ret != 0
    assert "missing.json" in told(missing) + "\n".join(missing.errlines)


def test_explorations_and_cuts_that_a_plain_test_calls_tell_commands_too(one: Inner):
    result = one.run(
        RACY.replace(
            "@pytest.mark.explore(seeds=50, conditions=Conditions())\n    async def test_race", "async def race"
        )
        + """
    from trio_mcp.testing import explore

    def test_by_hand():
        explore(race, 50, conditions=Conditions())
    """
    )
    result.assert_outcomes(failed=1)
    assert "race failed in run" in told(result)
    replayed = one.again(*command_of(result, "replay"))
    replayed.assert_outcomes(failed=1)
    assert "second won" in told(replayed)


# Classes, parameters, fixtures


def test_classes_parameters_and_plain_fixtures_work(inner: Inner):
    inner.run(
        """
        import pytest, trio
        from trio_mcp.testing import current
        seen = []

        @pytest.fixture
        def word():
            return "word"

        class TestIt:
            attribute = "own"

            @pytest.mark.explore(seeds=2)
            @pytest.mark.parametrize("number", [1, 2])
            async def test_method(self, number, word, tmp_path):
                seen.append((self.attribute, number, word, tmp_path.is_dir(), current().seed))

        @pytest.mark.explore(seeds=1)
        class TestAll:
            async def test_one(self):
                assert current() is not None

        def test_seen():
            assert seen == [("own", number, "word", True, seed) for number in (1, 2) for seed in (0, 1)]
        """
    ).assert_outcomes(passed=4)


def test_the_clock_and_the_network_are_the_runs_in_an_explored_test(inner: Inner):
    inner.run(
        """
        import pytest, trio
        from trio_mcp.testing import current

        @pytest.mark.explore(seeds=3)
        async def test_run(mcp_clock, network):
            assert mcp_clock is current().clock
            assert network is current().network
            await trio.sleep(3600)
            assert mcp_clock.current_time() == trio.current_time() == 3600
        """
    ).assert_outcomes(passed=1)


def test_the_clock_and_the_network_work_beside_pytest_trio(inner: Inner):
    inner.run(
        """
        import pytest, trio
        from trio_mcp import Server
        from trio_mcp.testing import connect, current

        @pytest.mark.trio
        async def test_plain(mcp_clock, network):
            assert current() is None
            await trio.sleep(3600)
            server = Server("plain")
            server.tool(name="here")(lambda: "here")
            async with connect(server, network=network) as client:
                await client.call_tool("here")
            assert network.links
        """
    ).assert_outcomes(passed=1)


def test_a_plain_function_is_not_overtaken_by_the_clock(inner: Inner):
    inner.run(
        """
        import threading, time
        import pytest, trio
        from trio_mcp import Server
        from trio_mcp.testing import connect

        async def call():
            main = threading.get_ident()
            server = Server("threaded")

            @server.tool(timeout=30)
            def work(seconds: float) -> str:
                assert threading.get_ident() != main
                sum(range(300_000))
                time.sleep(seconds)
                return "worked"

            async with connect(server) as client:
                assert not (await client.call_tool("work", {"seconds": 29})).is_error
                assert trio.current_time() == 29
                assert (await client.call_tool("work", {"seconds": 31})).is_error
                assert trio.current_time() == 29 + 30

        @pytest.mark.trio
        async def test_plain(mcp_clock):
            await call()

        @pytest.mark.explore(seeds=2)
        async def test_explored(mcp_clock):
            began = trio.current_time()
            await trio.sleep(5)
            assert trio.current_time() == began + 5

        def test_put_back():
            assert trio.to_thread.run_sync.__module__.startswith("trio.")
            assert time.sleep.__module__ == "time"
        """
    ).assert_outcomes(passed=3)


# What is refused


REFUSED = {
    "async fixtures": (
        """
        import pytest, trio

        @pytest.fixture
        async def thing():
            yield 1

        @pytest.mark.explore(seeds=2)
        async def test_refused(thing):
            pass
        """,
        "test_refused is marked explore and uses async fixtures (thing)",
    ),
    "a sync function": (
        """
        import pytest

        @pytest.mark.explore
        def test_refused():
            pass
        """,
        "test_refused is marked explore and is not async",
    ),
    "an unknown keyword": (
        """
        import pytest

        @pytest.mark.explore(seed=2)
        async def test_refused():
            pass
        """,
        "the mark explore takes no seed",
    ),
    "too many arguments": (
        """
        import pytest

        @pytest.mark.explore(2, 3)
        async def test_refused():
            pass
        """,
        "the mark explore takes one argument",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_explored_is_refused_in_one_sentence(what: str, one: Inner):
    source, sentence = REFUSED[what]
    result = one.run(source)
    outcomes: dict[str, Any] = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 1
    assert "passed" not in outcomes
    assert sentence in told(result)
    assert "Traceback" not in told(result)


def test_a_test_that_skips_itself_is_skipped(one: Inner):
    one.run(
        """
        import pytest

        @pytest.mark.explore(seeds=2)
        async def test_skips():
            pytest.skip("not here")
        """
    ).assert_outcomes(skipped=1)


def test_an_interrupt_ends_the_whole_run(one: Inner):
    with pytest.raises(KeyboardInterrupt):
        one.run(
            """
            import pytest

            @pytest.mark.explore(seeds=2)
            async def test_interrupted():
                raise KeyboardInterrupt
            """
        )


def test_the_options_have_a_heading_of_their_own(one: Inner):
    result = one.again("--help")
    assert "deterministic simulation (trio_mcp.testing)" in told(result)
    for option in ("seed", "seeds", "replay", "trace"):
        assert f"--trio-mcp-{option}=" in told(result)
