# Both executors stand still in turn, longer than the broker waits for them. Whoever comes back
# finds that its work is somebody else's, and lets go of it.

    0.100  e1 v1: ada asks: wait for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 4 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Autonomous, risk Low
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `long` starts, attempt 1
    0.100  e1 v6: `short` starts, attempt 1
    0.500  executor-1 stands still for 24.000 s
    0.500  executor-2 stands still for 9.000 s
    0.520  the faults stop
    0.800  e1 v7: `short` is done, attempt 1
    0.800  e1 v8: `note` starts, attempt 1
    0.800  the worker is asked for `note`, attempt 1
    0.802  the worker does `note`
    0.804  e1 v9: `note` is done, attempt 1
    6.100  e1 v10: `long` is done, attempt 1
    6.100  e1 v11: `end` starts, attempt 1
    6.100  the worker is asked for `end`, attempt 1
    6.102  the worker does `end`
    6.104  e1 v12: `end` is done, attempt 1
    6.104  e1 v13: it is completed
