# A step waits for a human, and no human comes. Silence is a no, and it is recorded as such.

    0.100  e1 v1: ada asks: change for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 2 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Assist, risk Medium
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `change` waits for someone to approve it
    0.100  e1 v6: `look` starts, attempt 1
    0.100  the worker is asked for `look`, attempt 1
    0.102  the worker does `look`
    0.104  e1 v7: `look` is done, attempt 1
    0.200  ada asks for execution.approve of e1: REQUESTER_CANNOT_APPROVE
    0.300  bob asks for execution.approve of e1: FORBIDDEN
    0.320  the faults stop
   20.100  e1 v8: it has failed: APPROVAL_EXPIRED
