# A run is paused while a step is completed later: what is reported meanwhile is taken, and nothing
# is begun until the run goes on. Then it is called off, which no retry goes round.

    0.100  e1 v1: ada asks: later for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 3 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Autonomous, risk Low
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `look` starts, attempt 1
    0.100  the worker is asked for `look`, attempt 1
    0.102  the worker does `look`
    0.104  e1 v6: `look` is done, attempt 1
    0.104  e1 v7: `later` starts, attempt 1
    0.104  the worker is asked for `later`, attempt 1
    0.104  e1 v8: `later` will be completed later
    1.104  e1 v9: root pauses it
    1.104  root asks for execution.pause of e1: 200
    5.104  the worker does `later`
    5.104  e1 v10: `later` is reported as done
    5.104  walt asks for execution.step.report of e1: 200
    5.104  walt asks for execution.step.report of e1: 200
    5.104  e1 v11: `later` is done, attempt 1
    8.104  e1 v12: root lets it go on
    8.104  root asks for execution.resume of e1: 200
    8.104  e1 v13: root cancels it
    8.104  root asks for execution.abort of e1: 200
    8.104  e1 v14: it has failed: CANCELLED
    9.104  root asks for execution.retry of e1: RETRY_NOT_PERMITTED
   20.000  e2 v1: bob asks: echo for e2
   20.000  e2 is submitted: 201
   20.000  e2 v2: a plan of 2 steps is compiled from the intent's draft
   20.000  e2 v3: the plan is judged: Autonomous, risk Low
   20.000  e2 v4: run 1 begins
   20.000  e2 v5: `echo` starts, attempt 1
   20.000  e2 v6: `echo` is done, attempt 1
   20.000  e2 v7: `note` is to be judged again: InputsKnown
   20.000  e2 v8: `note` is judged: Autonomous
   20.000  e2 v9: `note` starts, attempt 1
   20.000  the worker is asked for `note`, attempt 1
   20.002  the worker does `note`
   20.004  e2 v10: `note` is done, attempt 1
   20.004  e2 v11: it is completed
   20.020  the faults stop
