# A cancel starts nothing more. What is under way still ends, and is recorded, before the run does.

    0.100  e1 v1: ada asks: wide for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 7 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Assist, risk Medium
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `a` starts, attempt 1
    0.100  the worker is asked for `a`, attempt 1
    0.100  e1 v6: `b` starts, attempt 1
    0.100  the worker is asked for `b`, attempt 1
    0.100  e1 v7: `c` waits for someone to approve it
    0.100  e1 v8: `d` waits for someone to approve it
    0.100  e1 v9: `f` starts, attempt 1
    0.100  the worker is asked for `f`, attempt 1
    0.100  the worker does `f`
    0.100  e1 v10: `f` fails, attempt 1, with INVALID_REPLY: nobody knows whether it was done, it is not tried again
    0.105  grace asks for execution.cancel of e1: EXECUTION_ENDED
    0.106  the worker does `b`
    0.108  the worker does `a`
    0.113  e1 v11: `b` is done, attempt 1
    0.116  e1 v12: `a` is done, attempt 1
    0.116  e1 v13: it has failed: STEP_FAILED
    9.105  the faults stop
