"""What ranks say to each other. Frozen values; no behaviour.

==============  =================  ==================================================================
message         from -> to         meaning
==============  =================  ==================================================================
Setup           driver -> members  how to run trials; the first message
Ready           root -> driver     the group is set up and takes trials
SetupFailed     member -> driver   the group cannot be set up
Assign          driver -> root     run these trials, in this order
Results         root -> writer     attempts have ended; each carries its record, packed for the store
Written         writer -> driver   the records of these attempts are safe; failed ones go on to it as `Results`
Reported        root -> driver     a trial has reported values; is it to be given up?
Verdict         driver -> root     the answer to that
GroupStuck      member -> driver   the group disagrees about a trial and cannot go on
Alive           driver -> all      nothing new; said now and then, so that a dead driver is noticed
                writer -> driver   likewise
Hurry           driver -> root     trials that ask whether they should stop are to end
Shutdown        driver -> all      no more work
Left            all -> driver      this rank has nothing more to say
RankLost        transport -> any   this rank has died; nobody sends it
==============  =================  ==================================================================

Where the driver writes itself, it is the writer of the first of these, and there is no other. Where ranks of their own
write (``store.writers``), they and the driver say besides:

==============  =================  ==================================================================
message         from -> to         meaning
==============  =================  ==================================================================
WriterSetup     driver -> writer   what a writer must know; its first message
Fence           driver -> writer   take no more of this group, which is lost
Fenced          writer -> driver   so it is; all that the group had said before has been told
Seal            driver -> writer   make a segment of what is in the journal
Sealed          writer -> driver   so it is: these segments are there, for results.h5
Finish          driver -> writer   the run has ended
Finished        writer -> driver   all files are complete
WriterFailed    writer -> driver   nothing can be written any more
==============  =================  ==================================================================
"""

from __future__ import annotations

from mpiens.messages.ranks import Alive, GroupStuck, Left, RankLost, Ready, SetupFailed, Shutdown
from mpiens.messages.settings import CommandSettings, ModelSettings, Setup, WriterSetup
from mpiens.messages.trials import (
    Assign,
    Assignment,
    Failure,
    Hurry,
    Question,
    Reported,
    Result,
    Results,
    Verdict,
    Written,
)
from mpiens.messages.writing import Fence, Fenced, Finish, Finished, Seal, Sealed, WriterFailed

Message = (
    RankLost
    | Setup
    | Ready
    | SetupFailed
    | Assign
    | Results
    | Written
    | Reported
    | Verdict
    | GroupStuck
    | Alive
    | Hurry
    | Shutdown
    | Left
    | WriterSetup
    | Fence
    | Fenced
    | Seal
    | Sealed
    | Finish
    | Finished
    | WriterFailed
)

__all__ = [
    "Alive",
    "Assign",
    "Assignment",
    "CommandSettings",
    "Failure",
    "Fence",
    "Fenced",
    "Finish",
    "Finished",
    "GroupStuck",
    "Hurry",
    "Left",
    "Message",
    "ModelSettings",
    "Question",
    "RankLost",
    "Ready",
    "Reported",
    "Result",
    "Results",
    "Seal",
    "Sealed",
    "Setup",
    "SetupFailed",
    "Shutdown",
    "Verdict",
    "WriterFailed",
    "WriterSetup",
    "Written",
]
