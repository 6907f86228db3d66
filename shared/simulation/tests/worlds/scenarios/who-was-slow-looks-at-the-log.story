# The executor stands still between the storing of a start and its request, and so does the whole
# machine once meanwhile, so that what it tells the broker comes too late without its knowing. It
# looks at the log before it sends: the step is somebody else's by then.

    0.280  e2 v1: bot asks: retry for e2
    0.280  e2 is submitted: 201
    0.280  e2 v2: a plan of 2 steps is compiled from the intent's draft
    0.280  e2 v3: the plan is judged: Autonomous, risk Low
    0.280  e2 v4: run 1 begins
    0.280  e2 v5: `flaky` starts, attempt 1
    0.280  executor-2 stands still for 18.000 s
    2.404  everything stands still for 5.000 s
    7.404  e1 v1: bob asks: mail for e1
    7.404  e1 is submitted: 201
    7.404  e1 v2: a plan of 2 steps is compiled from the intent's draft
    7.404  e1 v3: the plan is judged: Assist, risk Medium
    7.704  the faults stop
   15.280  e2 v6: `flaky` is taken over, attempt 2
   15.280  the worker is asked for `flaky`, attempt 2
   15.282  the worker does `flaky`
   15.284  e2 v7: `flaky` is done, attempt 2
   15.284  e2 v8: `then` starts, attempt 1
   15.284  the worker is asked for `then`, attempt 1
   15.286  the worker does `then`
   15.288  e2 v9: `then` is done, attempt 1
   15.288  e2 v10: it is completed
   22.404  e1 v4: run 1 begins
   22.404  e1 v5: `list` starts, attempt 1
   22.404  the worker is asked for `list`, attempt 1
   22.406  the worker does `list`
   22.408  e1 v6: `list` is done, attempt 1
   22.408  e1 v7: `send` waits for someone to approve it
   22.504  e1 v8: grace approves `send`
   22.504  grace asks for execution.approve of e1: 200
   22.504  e1 v9: `send` starts, attempt 1
   22.504  the worker is asked for `send`, attempt 1
   22.506  the worker does `send`
   22.508  e1 v10: `send` is done, attempt 1
   22.508  e1 v11: it is completed
