# Two policies follow each other closely. The executor still believes in the first when the
# verifier has judged by the second: it must not ask again and again, but look itself.

    5.079  e1 v1: ada asks: pair for e1
    5.079  e1 is submitted: 201
    5.079  e1 v2: a plan of 3 steps is compiled from the intent's draft
    5.079  e1 v3: the plan is judged: Autonomous, risk Low
    5.079  e1 v4: run 1 begins
    5.079  e1 v5: `a` starts, attempt 1
    5.079  the worker is asked for `a`, attempt 1
    5.079  e1 v6: `b` starts, attempt 1
    5.079  the worker is asked for `b`, attempt 1
    6.879  executor-1 is to be killed after its next append
    7.300  policy active v3: root wants another policy
    7.300  policy active v4: the policy is active
    7.300  root asks for policy.activate: 200
    8.079  e1 v7: `a` fails, attempt 1, with TIMEOUT: nobody knows whether it was done, it is tried again
    8.146  policy active v5: root wants another policy
    8.146  policy active v6: the policy is active
    8.146  root asks for policy.activate: 200
    8.338  e1 v8: `a` is to be judged again: PolicyChanged
    8.338  e1 v9: `a` is judged: Assist
    8.338  e1 v10: `a` waits for someone to approve it
   17.146  the faults stop
   28.338  e1 v11: it stops: APPROVAL_EXPIRED
   45.079  e1 v12: `b` fails, attempt 1, with TIMEOUT: nobody knows whether it was done, it is not tried again
   45.079  e1 v13: it has failed: APPROVAL_EXPIRED
