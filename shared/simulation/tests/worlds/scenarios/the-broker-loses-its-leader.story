# For seven seconds nothing is answered, and some of what was sent is stored all the same. What was
# stored is recognised by its bytes, and the rest is sent again.

    0.100  the broker has no leader for 7.000 s
    2.200  the faults stop
    2.200  e1 v1: ada asks: wide for e1
    2.200  e1 is submitted: 201
    2.200  e1 v2: a plan of 7 steps is compiled from the intent's draft
    2.200  e1 v3: the plan is judged: Assist, risk Medium
    2.200  e1 v4: run 1 begins
    2.200  e1 v5: `a` starts, attempt 1
    2.200  the worker is asked for `a`, attempt 1
    2.200  e1 v6: `b` starts, attempt 1
    2.200  the worker is asked for `b`, attempt 1
    2.200  e1 v7: `c` waits for someone to approve it
    2.200  e1 v8: `d` waits for someone to approve it
    2.200  e1 v9: `f` starts, attempt 1
    2.200  the worker is asked for `f`, attempt 1
    2.202  the worker does `a`
    2.202  the worker does `b`
    2.202  the worker does `f`
    2.204  e1 v10: `f` is done, attempt 1
    2.204  e1 v11: `e` is to be judged again: InputsKnown
    2.204  e1 v12: `b` is done, attempt 1
    2.204  e1 v13: `a` is done, attempt 1
    2.204  e1 v14: `e` is judged: Autonomous
    2.204  e1 v15: `e` starts, attempt 1
    2.204  the worker is asked for `e`, attempt 1
    2.206  the worker does `e`
    2.208  e1 v16: `e` is done, attempt 1
    2.300  e2 v1: ada asks: chain for e2
    2.300  e2 is submitted: 201
    2.300  e2 v2: a plan of 2 steps is compiled from the intent's draft
    2.300  e2 v3: the plan is judged: Autonomous, risk Low
    2.300  e2 v4: run 1 begins
    2.300  e2 v5: `look` starts, attempt 1
    2.300  the worker is asked for `look`, attempt 1
    2.302  the worker does `look`
    2.304  e2 v6: `look` is done, attempt 1
    2.304  e2 v7: `note` is to be judged again: InputsKnown
    2.304  e2 v8: `note` is judged: Autonomous
    2.304  e2 v9: `note` starts, attempt 1
    2.304  the worker is asked for `note`, attempt 1
    2.306  the worker does `note`
    2.308  e2 v10: `note` is done, attempt 1
    2.308  e2 v11: it is completed
    2.600  e1 v17: grace approves `c`
    2.600  grace asks for execution.approve of e1: 200
    2.600  e1 v18: `c` starts, attempt 1
    2.600  the worker is asked for `c`, attempt 1
    2.602  the worker does `c`
    2.604  e1 v19: `c` is done, attempt 1
    3.000  e1 v20: grace approves `d`
    3.000  grace asks for execution.approve of e1: 200
    3.000  e1 v21: `d` starts, attempt 1
    3.000  the worker is asked for `d`, attempt 1
    3.002  the worker does `d`
    3.004  e1 v22: `d` is done, attempt 1
    3.004  e1 v23: `last` starts, attempt 1
    3.004  the worker is asked for `last`, attempt 1
    3.006  the worker does `last`
    3.008  e1 v24: `last` is done, attempt 1
    3.008  e1 v25: it is completed
