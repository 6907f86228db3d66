# What a process had begun is under a wake-up that the other one, given it once more, has
# acknowledged; then the process dies. The other one, at work on a vote, leaves a timer for it: the
# step fails once its time is over, and is tried again.

    5.710  e1 v1: bob asks: playbook for e1
    5.710  e1 is submitted: 201
    5.710  e1 v2: a plan of 2 steps is compiled from a playbook
    5.715  e1 v3: the plan is judged: Assist, risk Low
    5.715  executor-2 stands still for 9.000 s
    5.724  executor-1 is told to stop, and started again
    7.277  e3 v1: bob asks: change for e3
    7.277  e3 is submitted: 201
    7.280  e3 v2: a plan of 2 steps is compiled from the intent's draft
    7.283  executor-2 is to be killed after its next dispatch
    7.643  e3 v3: the plan is judged: Assist, risk Medium
    8.145  e3 v4: root starts it by hand
    8.145  the broker has no leader for 0.400 s
    8.673  execution 019cad98-f5a1-73cc-b78b-3ef7ac84b9ab v1: bot asks: playbook for e2
    8.673  e2 is submitted: 201
    8.674  e2 v2: a plan of 2 steps is compiled from a playbook
    8.678  e2 v3: the plan is judged: Autonomous, risk Low
    8.995  e2 v4: run 1 begins
    8.995  e2 v5: `look` starts, attempt 1
    8.995  the worker is asked for `look`, attempt 1
    8.997  the worker does `look`
    9.037  e2 v6: `look` is done, attempt 1
    9.038  e2 v7: `note` is to be judged again: InputsKnown
    9.302  e2 v8: `note` is judged: Autonomous
   13.653  policy active v3: root wants another policy
   13.753  policy active v4: the policy is active
   13.753  root asks for policy.activate: 200
   14.480  whatever is held is delivered once more, to anyone
   14.524  e1 v4: run 1 begins
   14.524  e3 v5: run 1 begins
   14.524  e2 v9: `note` is to be judged again: PolicyChanged
   14.524  root asks for execution.start of e3: 200
   14.524  e3 v6: `change` is to be judged again: PolicyChanged
   14.524  e3 v7: `look` is to be judged again: PolicyChanged
   14.525  e2 v10: `note` is judged: Autonomous
   14.525  e3 v8: `change` is judged: Assist
   14.526  e1 v5: `look` is to be judged again: PolicyChanged
   14.528  e2 v11: `note` starts, attempt 1
   14.528  the worker is asked for `note`, attempt 1
   14.529  e3 v9: `look` is judged: Autonomous
   14.530  the worker does `note`
   14.533  e1 v6: `look` is judged: Assist
   14.537  e2 v12: `note` is done, attempt 1
   14.537  e2 v13: it is completed
   14.590  e1 v7: `look` waits for someone to approve it
   14.758  e3 v10: `change` waits for someone to approve it
   14.759  e3 v11: `look` starts, attempt 1
   14.761  executor-2 dies after its next dispatch
   14.761  the worker is asked for `look`, attempt 1
   14.763  the worker does `look`
   16.480  the faults stop
   16.880  e3 v12: grace approves `change`
   16.880  grace asks for execution.approve of e3: 200
   16.880  e1 v8: grace approves `look`
   16.880  grace asks for execution.approve of e1: 200
   16.880  e3 v13: `change` starts, attempt 1
   16.880  the worker is asked for `change`, attempt 1
   16.880  e1 v9: `look` starts, attempt 1
   16.880  the worker is asked for `look`, attempt 1
   16.882  the worker does `change`
   16.882  the worker does `look`
   16.884  e1 v10: `look` is done, attempt 1
   16.884  e3 v14: `change` is done, attempt 1
   16.884  e1 v11: `note` is to be judged again: InputsKnown
   16.884  e1 v12: `note` is judged: Assist
   16.884  e1 v13: `note` waits for someone to approve it
   17.280  e1 v14: grace approves `note`
   17.280  grace asks for execution.approve of e1: 200
   17.280  e1 v15: `note` starts, attempt 1
   17.280  the worker is asked for `note`, attempt 1
   17.282  the worker does `note`
   17.284  e1 v16: `note` is done, attempt 1
   17.284  e1 v17: it is completed
   74.826  e3 v15: `look` fails, attempt 1, with TIMEOUT: nobody knows whether it was done, it is tried again
   75.152  e3 v16: `look` starts, attempt 2
   75.152  the worker is asked for `look`, attempt 2
   75.154  the worker does `look`
   75.156  e3 v17: `look` is done, attempt 2
   75.156  e3 v18: it is completed
