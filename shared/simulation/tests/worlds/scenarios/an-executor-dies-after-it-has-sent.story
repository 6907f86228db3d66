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
   15.100  e1 v6: `look` fails, attempt 1, with TIMEOUT: nobody knows whether it was done, it is tried again
   15.583  e1 v7: `look` starts, attempt 2
   15.583  the worker is asked for `look`, attempt 2
   15.585  the worker does `look`
   15.587  e1 v8: `look` is done, attempt 2
   15.587  e1 v9: `note` is to be judged again: InputsKnown
   15.587  e1 v10: `note` is judged: Autonomous
   15.587  e1 v11: `note` starts, attempt 1
   15.587  the worker is asked for `note`, attempt 1
   15.589  the worker does `note`
   15.591  e1 v12: `note` is done, attempt 1
   15.591  e1 v13: it is completed
