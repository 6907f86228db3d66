# What is waited for stands in the log, and the process that was to set the alarm is gone. The
# message that had woken it comes again, and the alarm is set by another.

    0.050  executor-1 is to be killed before its next arm
    0.050  executor-2 is to be killed before its next arm
    0.050  planner-1 is to be killed before its next arm
    0.050  planner-2 is to be killed before its next arm
    0.100  e1 v1: ada asks: wait for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 4 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Autonomous, risk Low
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `long` starts, attempt 1
    0.100  e1 v6: `short` starts, attempt 1
    0.100  executor-2 dies before its next arm
    0.200  e2 v1: ada asks: absent for e2
    0.200  e2 is submitted: 201
    0.200  e2 v2: an outside planner is asked, draft 1
    0.200  planner-1 dies before its next arm
    0.220  the faults stop
   15.100  e1 v7: `long` is done, attempt 1
   15.100  e1 v8: `short` is done, attempt 1
   15.100  e1 v9: `note` starts, attempt 1
   15.100  the worker is asked for `note`, attempt 1
   15.102  the worker does `note`
   15.104  e1 v10: `note` is done, attempt 1
   15.104  e1 v11: `end` starts, attempt 1
   15.104  the worker is asked for `end`, attempt 1
   15.106  the worker does `end`
   15.108  e1 v12: `end` is done, attempt 1
   15.108  e1 v13: it is completed
 3600.200  e2 v3: the plan is rejected for good: no draft came
