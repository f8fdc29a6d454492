from prodkit.transports.amqp.receipts import Receipts


def delivered(count):
    receipts = Receipts()
    for number in range(1, count + 1):
        receipts.delivered(number)
    return receipts


def test_what_was_settled_in_a_row_is_told_in_one_word():
    receipts = delivered(4)
    for number in (2, 1, 3):
        receipts.acknowledge(number)
    assert receipts.tell() == [(3, True)]
    assert receipts.tell() == []


def test_what_has_an_unsettled_one_before_it_is_told_alone():
    receipts = delivered(5)
    for number in (1, 3, 5):
        receipts.acknowledge(number)
    assert receipts.tell() == [(1, True), (3, False), (5, False)]
    receipts.acknowledge(2)
    assert receipts.tell() == [(2, True)]
    receipts.acknowledge(4)
    receipts.acknowledge(4)
    assert receipts.tell() == [(4, True)]


def test_what_was_given_back_or_is_unknown_is_not_acknowledged():
    receipts = delivered(3)
    receipts.forget(1)
    for number in (1, 2, 9):
        receipts.acknowledge(number)
    assert receipts.tell() == [(2, True)]


def test_it_counts_what_is_to_be_told():
    receipts = delivered(3)
    for number in (2, 3, 3, 9):
        receipts.acknowledge(number)
    assert receipts.waiting == 2
    receipts.tell()
    assert receipts.waiting == 0
