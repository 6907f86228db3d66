# The executor is killed when the worker already has the request. Nobody hears its answer, so the
# other executor takes the attempt over under the same key, and that is no retry.

    0.100  executor-1 is to be killed after its next dispatch
    0.100  executor-2 is to be killed after its next dispatch
    0.100  e1 v1: ada asks: chain for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 2 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Autonomous, risk Low
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `look` starts, attempt 1
    0.100  executor-2 dies after its next dispatch
    0.100  the worker is asked for `look`, attempt 1
    0.102  the worker does `look`
    0.400  the faults stop
   15.100  e1 v6: `look` is taken over, attempt 2
   15.100  the worker is asked for `look`, attempt 2
   15.102  the worker does `look`
   15.104  e1 v7: `look` is done, attempt 2
   15.104  e1 v8: `note` is to be judged again: InputsKnown
   15.104  e1 v9: `note` is judged: Autonomous
   15.104  e1 v10: `note` starts, attempt 1
   15.104  the worker is asked for `note`, attempt 1
   15.106  the worker does `note`
   15.108  e1 v11: `note` is done, attempt 1
   15.108  e1 v12: it is completed
