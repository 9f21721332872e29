import threading

from appliance.engine.status import Counters


def test_answered_calls_are_summed_by_step() -> None:
    counters = Counters()
    counters.succeeded(0.1, 0.2, 0.3, 0.4, batch=5)
    counters.succeeded(0.1, 0.2, 0.3, 0.4, batch=1)
    found = counters.statistics()
    assert (found.success_count, found.execution_count, found.inference_count) == (2, 2, 6)
    assert (found.queue_ns, found.compute_input_ns) == (200_000_000, 400_000_000)
    assert (found.compute_infer_ns, found.compute_output_ns) == (600_000_000, 800_000_000)
    assert found.success_ns == 2_000_000_000
    assert found.last_inference_ms > 0


def test_failed_calls_are_counted_apart() -> None:
    counters = Counters()
    counters.failed(0.5)
    found = counters.statistics()
    assert (found.fail_count, found.fail_ns, found.success_count) == (1, 500_000_000, 0)


def test_no_count_is_lost_among_threads() -> None:
    counters = Counters()

    def count() -> None:
        for _ in range(500):
            counters.succeeded(0, 0, 0, 0, batch=2)
            counters.failed(0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = counters.statistics()
    assert (found.success_count, found.inference_count, found.fail_count) == (2000, 4000, 2000)


def test_batch_sizes_are_summed_apart_and_not_without_end() -> None:
    counters = Counters()
    for batch in (8, 1, 8):
        counters.succeeded(0.0, 0.001, 0.002, 0.003, batch=batch)
    assert [(one.batch_size, one.count) for one in counters.batches()] == [(1, 1), (8, 2)]
    assert counters.batches()[1].compute_infer_ns == 4_000_000
    for batch in range(1, 1000):
        counters.succeeded(0.0, 0.001, 0.002, 0.003, batch=batch)
    assert len(counters.batches()) == 64
    assert counters.statistics().execution_count == 1002
