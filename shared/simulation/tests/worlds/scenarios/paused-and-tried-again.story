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
    1.104  the faults stop
    1.104  e1 v9: root pauses it
    1.104  root asks for execution.pause of e1: 200
    1.504  e1 v10: root lets it go on
    1.504  root asks for execution.resume of e1: 200
   12.104  the worker does `later`
   12.104  e1 v11: `later` is reported as done
   12.104  walt asks for execution.step.report of e1: 200
   12.104  walt asks for execution.step.report of e1: 200
   12.104  e1 v12: `later` is done, attempt 1
   12.104  e1 v13: `then` starts, attempt 1
   12.104  the worker is asked for `then`, attempt 1
   12.106  the worker does `then`
   12.108  e1 v14: `then` is done, attempt 1
   12.108  e1 v15: it is completed
