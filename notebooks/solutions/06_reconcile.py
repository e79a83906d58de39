"""Solutions to the exercises of notebook 06. Try them yourself first."""


def differences(there, here):
    """Payment number → what differs, for two books from number to cents."""
    found = {}
    for number in there.keys() | here.keys():
        if number not in here:
            found[number] = "missing here"
        elif number not in there:
            found[number] = "missing there"
        elif there[number] != here[number]:
            found[number] = "amount differs"
    return found


def held(bill):
    """The cents that the platform holds, from the text of its bill."""
    import csv
    from io import StringIO

    sign = {"payment": 1, "refund": -1}
    return sum(sign[line["kind"]] * int(line["amount"]) for line in csv.DictReader(StringIO(bill)))


def send_a_refund_twice():
    """A failpoint and its action, as a pair.

    The second request bears the same refund number, and the platform answers it from its row.
    """
    return "pay.refund_trade.before_call", "duplicate"
