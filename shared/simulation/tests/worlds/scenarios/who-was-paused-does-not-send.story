# The executor stands still when the start of a step is stored and its request is not yet sent, for
# longer than the broker waits for it. By then the step is somebody else's: it is not sent again.

    0.100  e1 v1: ada asks: chain for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 2 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Autonomous, risk Low
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `look` starts, attempt 1
    0.100  executor-2 stands still for 33.000 s
    5.000  executor-1 is to be killed now
    5.000  executor-1 dies
   30.000  e2 v1: ada asks: wait for e2
   30.000  e2 is submitted: 201
   30.000  e2 v2: a plan of 4 steps is compiled from the intent's draft
   30.000  e2 v3: the plan is judged: Autonomous, risk Low
   30.000  e2 v4: run 1 begins
   30.000  e2 v5: `long` starts, attempt 1
   30.000  e2 v6: `short` starts, attempt 1
   30.020  the faults stop
   30.100  e1 v6: `look` is taken over, attempt 2
   30.100  the worker is asked for `look`, attempt 2
   30.102  the worker does `look`
   30.104  e1 v7: `look` is done, attempt 2
   30.104  e1 v8: `note` is to be judged again: InputsKnown
   30.104  e1 v9: `note` is judged: Autonomous
   30.700  e2 v7: `short` is done, attempt 1
   30.700  e2 v8: `note` starts, attempt 1
   30.700  the worker is asked for `note`, attempt 1
   30.702  the worker does `note`
   30.704  e2 v9: `note` is done, attempt 1
   33.100  e1 v10: `note` starts, attempt 1
   33.100  the worker is asked for `note`, attempt 1
   33.102  the worker does `note`
   33.104  e1 v11: `note` is done, attempt 1
   33.104  e1 v12: it is completed
   36.000  e2 v10: `long` is done, attempt 1
   36.000  e2 v11: `end` starts, attempt 1
   36.000  the worker is asked for `end`, attempt 1
   36.002  the worker does `end`
   36.004  e2 v12: `end` is done, attempt 1
   36.004  e2 v13: it is completed
