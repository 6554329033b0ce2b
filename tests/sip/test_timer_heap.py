from siprec.sip.timer_heap import TimerHeap


def test_timers_come_in_order_and_once():
    heap: TimerHeap[str] = TimerHeap()
    heap.schedule("b", 2.0)
    heap.schedule("a", 1.0)
    heap.schedule("c", 3.0)
    assert heap.next_timer() == 1.0
    assert list(heap.pop_due(2.0)) == ["a", "b"]
    assert heap.next_timer() == 3.0
    assert len(heap) == 1


def test_a_moved_or_removed_timer_does_not_fire_at_its_old_time():
    heap: TimerHeap[str] = TimerHeap()
    heap.schedule("a", 1.0)
    heap.schedule("a", 5.0)
    heap.schedule("b", 2.0)
    heap.schedule("b", None)
    assert list(heap.pop_due(4.0)) == []
    assert list(heap.pop_due(5.0)) == ["a"]
    assert heap.next_timer() is None


def test_a_timer_set_again_while_others_fire_waits_for_its_turn():
    heap: TimerHeap[str] = TimerHeap()
    heap.schedule("a", 1.0)
    heap.schedule("b", 1.0)
    seen = []
    for owner in heap.pop_due(1.5):
        seen.append(owner)
        heap.schedule(owner, 2.0)
    assert seen == ["a", "b"]
