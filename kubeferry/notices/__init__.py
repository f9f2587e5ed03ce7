"""Telling people and programs what happens to machines: from the journal, in order, later where a receiver is away.

    journal ── deriving ──> outbox ── delivery ──┬── webhook ──> an address, by HTTP
               (happenings)          (digests)   └── mailing ──> people, by SMTP

happenings   events of a machine as notices; pure           notice    what a message says; pure
deriving     what receivers are to be told of, put into the outbox
digests      many messages of a wave as one; pure           letters   a message as mail; pure
delivery     one receiver after the other, with retries     signing   a message's signature; pure
webhook      by HTTP        mailing   by SMTP               answers   what came back;  receivers: who is configured

    deliver(journal, config)                 derives and sends what is due; called each minute, and by runs
    announce(journal, config, happening)     what no event says: a wave waits for a person, say

Neither is ever called between a source's stop and its target's start by the thread that moves the machine.
"""

from kubeferry.notices.delivery import Delivered, Told, deliver, problems, try_out
from kubeferry.notices.deriving import Announcement, Coming, announce, forecast

__all__ = ["Announcement", "Coming", "Delivered", "Told", "announce", "deliver", "forecast", "problems", "try_out"]
