"""All bugs of the gallery, in the order in which the documentation tells of them."""

from typing import Final

from tests.testing.bugs import (
    await_before_reply,
    double_reply,
    endless_shield,
    hanging_teardown,
    late_progress,
    leaked_subscription,
    lost_disconnect,
    lost_wakeup,
    unbounded_queue,
    wrong_session,
)
from tests.testing.bugs.bug import Bug

BUGS: Final[tuple[Bug, ...]] = (
    lost_disconnect.BUG,
    unbounded_queue.BUG,
    await_before_reply.BUG,
    endless_shield.BUG,
    double_reply.BUG,
    leaked_subscription.BUG,
    lost_wakeup.BUG,
    late_progress.BUG,
    wrong_session.BUG,
    hanging_teardown.BUG,
)
