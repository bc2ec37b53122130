"""What is done here when the peer has sent all it has."""

from __future__ import annotations

from pysyncml.constants import ItemState, StatusCode
from pysyncml.sync.filtering import is_kept
from pysyncml.sync.incoming import attempt
from pysyncml.sync.parties import Binding


def sweep(binding: Binding) -> None:
    """The peer has sent all it has: in a refresh, throw away what it did not send.

    Not so when something it did send could not be stored: our version of it may be the last.
    """
    history = binding.store.keepsHistory
    if binding.wipes and (binding.stats.hereErr or binding.progress.incomplete):
        binding.problem('nothing was deleted here, as not everything could be taken')
    elif binding.wipes:
        for item_id in binding.known.unseen(binding.number):
            if not is_kept(binding, item_id):
                _throw_away(binding, item_id)
    for item_id, spec in binding.agent.settleItems():
        binding.log.record(item_id, ItemState.MODIFIED, spec, history=history)


def _throw_away(binding: Binding, item_id: str) -> None:
    def delete() -> int:
        binding.agent.deleteItem(item_id)
        return StatusCode.OK

    _, text = attempt(binding, delete)
    if text:
        binding.stats.hereErr += 1
        binding.problem(f'{binding.agent.describeItem(item_id)} was not deleted: {text}')
        return
    history = binding.store.keepsHistory
    binding.log.record(item_id, ItemState.DELETED, None, history=history)
    binding.known.forget(item_id)
    binding.stats.hereDel += 1
