# The executor that runs a step stands still right after it has asked the worker. After 15 s the
# broker delivers its work again, to the connection of the same process, after 30 s to the other,
# which takes the step over as another attempt under the same key. Whoever comes back finds that its
# work is somebody else's and done, and lets go of it: the step has one end.

    0.100  e1 v1: ada asks: chain for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 2 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Autonomous, risk Low
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `look` starts, attempt 1
    0.100  the worker is asked for `look`, attempt 1
    0.101  executor-2 stands still for 33.000 s
    0.102  the worker does `look`
    0.120  the faults stop
   30.100  e1 v6: `look` is taken over, attempt 2
   30.100  the worker is asked for `look`, attempt 2
   30.102  the worker does `look`
   30.104  e1 v7: `look` is done, attempt 2
   30.104  e1 v8: `note` is to be judged again: InputsKnown
   30.104  e1 v9: `note` is judged: Autonomous
   33.101  e1 v10: `note` starts, attempt 1
   33.101  the worker is asked for `note`, attempt 1
   33.103  the worker does `note`
   33.105  e1 v11: `note` is done, attempt 1
   33.105  e1 v12: it is completed
