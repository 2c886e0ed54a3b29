"""A process beside each rank that starts other processes for it, and ends them, whatever becomes of the rank.

A rank has MPI running in it. Forking it is not safe everywhere, and when it is killed nobody would look after what it
has started. So the rank starts one keeper, from which all else descends. The keeper knows no MPI. It adopts processes
that have left their parents (PR_SET_CHILD_SUBREAPER), so that nothing can hide from it; it ends what is left when a
trial is over; and when the rank goes away, its end of the pipe closes, and the keeper ends everything and itself.
"""
