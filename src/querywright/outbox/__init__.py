"""The transactional outbox: messages written with the data they tell of, and published after the commit."""

from querywright.outbox.delivery import RelayOptions
from querywright.outbox.messages import DeadLetter, Message
from querywright.outbox.outbox import Outbox
from querywright.outbox.relay import Relay

__all__ = ["DeadLetter", "Message", "Outbox", "Relay", "RelayOptions"]
