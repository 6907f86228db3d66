# The intent brings no draft. The first one that is offered does not compile, the second one does;
# what was offered and why it was refused stays in the log.

    0.100  e1 v1: bob asks: absent for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: an outside planner is asked, draft 1
    0.500  e1 v3: pat offers a draft
    0.500  e1 v4: the plan is rejected for now: it does not compile
    0.500  pat asks for plan.compile (draft) of e1: PLAN_REJECTED
    0.500  e1 v5: an outside planner is asked, draft 2
    1.000  e1 v6: pat offers a draft
    1.000  e1 v7: a plan of 2 steps is compiled from the offered draft
    1.000  pat asks for plan.compile (draft) of e1: 200
    1.000  e1 v8: the plan is judged: Autonomous, risk Low
    1.000  e1 v9: run 1 begins
    1.000  e1 v10: `look` starts, attempt 1
    1.000  the worker is asked for `look`, attempt 1
    1.002  the worker does `look`
    1.004  e1 v11: `look` is done, attempt 1
    1.004  e1 v12: `note` is to be judged again: InputsKnown
    1.004  e1 v13: `note` is judged: Autonomous
    1.004  e1 v14: `note` starts, attempt 1
    1.004  the worker is asked for `note`, attempt 1
    1.006  the worker does `note`
    1.008  e1 v15: `note` is done, attempt 1
    1.008  e1 v16: it is completed
   10.000  the faults stop
