from appliance.engine.comparison import Comparison, Said


def test_latency_and_failures_are_told_for_each_version() -> None:
    comparison = Comparison()
    for number in range(100):
        comparison.answered(3, number / 1000, is_ok=True)
    comparison.answered(4, 9.0, is_ok=False)
    three, four, five = comparison.figures({3: "active", 4: "split", 5: "shadow"})
    assert (three.version, three.role, three.requests, three.failures) == (3, "active", 100, 0)
    assert (three.p50_ms, three.p95_ms, three.mean_ms) == (50.0, 95.0, 49.5)
    assert (four.requests, four.failures, four.p50_ms) == (1, 1, None)
    assert (five.role, five.requests) == ("shadow", 0)


def test_a_version_that_has_no_part_any_more_is_still_told() -> None:
    comparison = Comparison()
    comparison.answered(2, 0.001, is_ok=True)
    assert [one.role for one in comparison.figures({3: "active"})] == ["earlier", "active"]


def test_labels_decide_whether_two_answers_agree() -> None:
    comparison = Comparison()
    comparison.compared(Said("truck", 0.75, b""), Said("truck", 0.5, b""))
    for _ in range(2):
        comparison.compared(Said("truck", 0.75, b""), Said("van", 0.5, b""))
    comparison.compared(Said("truck", 0.75, b""), Said(None, None, b"{}"))
    told = comparison.agreement()
    assert (told.compared, told.agreed, told.ratio) == (4, 1, 0.25)
    assert told.mean_confidence_difference == 0.25
    first = told.differences[0]
    assert (first.active, first.shadow, first.count) == ("truck", "van", 2)


def test_without_labels_the_whole_results_are_compared() -> None:
    comparison = Comparison()
    comparison.compared(Said(None, None, b"[1]"), Said(None, None, b"[1]"))
    comparison.compared(Said(None, None, b"[1]"), Said(None, None, b"[2]"))
    told = comparison.agreement()
    assert (told.compared, told.agreed, told.differences) == (2, 1, ())


def test_a_result_with_a_label_is_not_kept() -> None:
    assert Said.of({"label": "van", "confidence": 0.5}, bytearray(b"long")).result == b""
    assert Said.of({}, bytearray(b"long")).result == b"long"


def test_an_empty_comparison_says_so() -> None:
    told = Comparison().agreement()
    assert (told.compared, told.ratio, told.mean_confidence_difference) == (0, None, None)


def test_what_was_dropped_or_failed_is_counted() -> None:
    comparison = Comparison()
    comparison.dropped()
    comparison.shadow_failed()
    told = comparison.agreement()
    assert (told.dropped, told.failed) == (1, 1)


def test_its_size_is_bounded() -> None:
    comparison = Comparison()
    for number in range(500):
        comparison.answered(number, 0.001, is_ok=True)
        comparison.compared(Said(f"a{number}", 1.0, b""), Said(f"b{number}", 1.0, b""))
    assert len(comparison.figures({})) == 16
    assert len(comparison.agreement().differences) == 20
