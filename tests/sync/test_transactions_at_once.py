"""Several threads that read for one transaction."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import rapyer_core.sync as rc
from tests.commits.models import Account


def test_threads_that_read_for_one_transaction_get_their_own(session: rc.Session) -> None:
    rc.save_many([Account(f"a{number}", number) for number in range(20)])
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            with rc.transaction() as tx:
                drafts = list(pool.map(lambda number: tx.get(Account, f"a{number}"), range(20)))
                assert [draft.coins for draft in drafts] == list(range(20))
        with rc.transaction() as tx:
            for draft in pool.map(lambda number: tx.get(Account, f"a{number}"), range(20)):
                draft.coins += 1
    assert [rc.get(Account, f"a{number}").coins for number in range(20)] == list(range(1, 21))
