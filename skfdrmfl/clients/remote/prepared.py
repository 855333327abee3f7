"""What a client has prepared for a plan: its rows as networks read them, kept from one message to the next.

Each message may be answered by a process of its own, and transforming many columns takes as long as training does. What
is kept is no more than a shortcut: who has lost it prepares anew and finds the same bits.
"""

from __future__ import annotations

from skfdrmfl.clients.client_data import ClientData
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.packet import Packet
from skfdrmfl.protocol.plan import Inputs, Plan, Targets

# What a plan's name ends with where it names what was prepared for it.
ROWS = " rows"
# More than this is prepared for each message: it would have to be held, and carried to and from each process. Of 120 MB
# Flower gives the next process what was there before, as that starts sooner than they are written.
MOST_BYTES = 2**25


def know(tables: ClientData, plan: Plan, kept: Packet) -> None:
    """Let tables know what was prepared of their rows for a plan."""
    for of, values in zip(_learned_from(plan), from_packet(kept), strict=True):
        tables.know(of, values)


def prepared(tables: ClientData, plan: Plan) -> Packet | None:
    """Return what has been prepared of the rows for a plan; None where it is too much to keep."""
    of_plan = _learned_from(plan)
    widths = [(sum((of.widths or of.transform.widths).values()), of.dtype) for of in of_plan if isinstance(of, Inputs)]
    if len(tables.table) * sum(width * dtype.itemsize for width, dtype in widths) > MOST_BYTES:
        return None
    return to_packet([tables.inputs(of) if isinstance(of, Inputs) else tables.outputs(of) for of in of_plan])


def _learned_from(plan: Plan) -> list[Inputs | Targets]:
    """Return the inputs and targets of all runs, each once."""
    both = [of for run in plan.runs for of in (run.inputs, run.targets)]
    return list({id(of): of for of in both}.values())
