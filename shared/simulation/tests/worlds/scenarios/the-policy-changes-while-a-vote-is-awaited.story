# The step waits for one person when a stricter policy comes. The one vote that was given does not
# count for the new question: it is put again, to two people.

    0.100  e1 v1: ada asks: erase for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 2 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Assist, risk High
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `erase` waits for someone to approve it
    0.500  policy active v3: root wants another policy
    0.500  policy active v4: the policy is active
    0.500  root asks for policy.activate: 200
    1.000  e1 v6: grace approves `erase`
    1.000  grace asks for execution.approve of e1: 200
    1.000  e1 v7: `erase` is to be judged again: PolicyChanged
    1.000  e1 v8: `erase` is judged: Assist
    1.000  e1 v9: `erase` waits for 2 people to approve it
    1.500  ada asks for execution.approve of e1: REQUESTER_CANNOT_APPROVE
    3.500  the faults stop
    3.900  e1 v10: grace approves `erase`
    3.900  grace asks for execution.approve of e1: 200
    4.300  e1 v11: heidi approves `erase`
    4.300  heidi asks for execution.approve of e1: 200
    4.300  e1 v12: `erase` starts, attempt 1
    4.300  the worker is asked for `erase`, attempt 1
    4.302  the worker does `erase`
    4.304  e1 v13: `erase` is done, attempt 1
    4.304  e1 v14: `note` is to be judged again: PolicyChanged
    4.304  e1 v15: `note` is judged: Autonomous
    4.304  e1 v16: `note` starts, attempt 1
    4.304  the worker is asked for `note`, attempt 1
    4.306  the worker does `note`
    4.308  e1 v17: `note` is done, attempt 1
    4.308  e1 v18: it is completed
