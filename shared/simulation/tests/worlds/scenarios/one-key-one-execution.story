# The same request twice is one execution; another request under its key is refused.

    0.100  the answers to the next 1 appends of intake-1 will be lost
    0.100  e1 v1: ada asks: pair for e1
    0.100  e1 v2: a plan of 3 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Autonomous, risk Low
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `a` starts, attempt 1
    0.100  the worker is asked for `a`, attempt 1
    0.100  e1 v6: `b` starts, attempt 1
    0.100  the worker is asked for `b`, attempt 1
    0.102  the worker does `a`
    0.102  the worker does `b`
    0.104  e1 v7: `b` is done, attempt 1
    0.104  e1 v8: `a` is done, attempt 1
    0.104  e1 v9: `c` starts, attempt 1
    0.104  the worker is asked for `c`, attempt 1
    0.106  the worker does `c`
    0.108  e1 v10: `c` is done, attempt 1
    0.108  e1 v11: it is completed
    0.200  e1 is submitted: 200
    0.300  ada submits e1 with another body: IDEMPOTENCY_CONFLICT
    0.320  the faults stop
    0.800  e1 is submitted: 200
