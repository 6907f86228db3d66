# One executor's clock is an hour ahead, one verifier's an hour behind. Times in one history never
# run backwards, and nobody's vote is cut short by another machine's clock.

    0.050  the clock of executor-1 is set forward by 3600.000 s
    0.050  the clock of verifier-1 is set back by 3600.000 s
    0.100  e1 v1: ada asks: pay for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 2 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Assist, risk High
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `look` starts, attempt 1
    0.100  the worker is asked for `look`, attempt 1
    0.102  the worker does `look`
    0.104  e1 v6: `look` is done, attempt 1
    0.104  e1 v7: `pay` is to be judged again: InputsKnown
    0.104  e1 v8: `pay` is judged: Assist
    0.104  e1 v9: `pay` waits for someone to approve it
    0.400  policy active v3: root wants another policy
    0.400  policy active v4: the policy is active
    0.400  root asks for policy.activate: 200
    0.900  e1 v10: grace approves `pay`
    0.900  grace asks for execution.approve of e1: 200
    0.900  e1 v11: `pay` is to be judged again: PolicyChanged
    0.900  e1 v12: `pay` is judged: Assist
    0.900  e1 v13: `pay` starts, attempt 1
    0.900  the worker is asked for `pay`, attempt 1
    0.902  the worker does `pay`
    0.904  e1 v14: `pay` is done, attempt 1
    0.904  e1 v15: it is completed
    0.920  the faults stop
