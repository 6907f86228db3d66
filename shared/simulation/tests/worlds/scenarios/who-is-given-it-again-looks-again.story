# An executor stands still, and the other takes its step over and dies. The first one, back by then
# and still waiting for its own request, is given the work again: that somebody else had it meanwhile
# is the reason to look at the log, and to go on at once, not when its own request times out.

    0.100  e1 v1: ada asks: chain for e1
    0.100  e1 is submitted: 201
    0.100  e1 v2: a plan of 2 steps is compiled from the intent's draft
    0.100  e1 v3: the plan is judged: Autonomous, risk Low
    0.100  e1 v4: run 1 begins
    0.100  e1 v5: `look` starts, attempt 1
    0.100  the worker is asked for `look`, attempt 1
    0.100  the worker does `look`
    0.101  executor-2 stands still for 31.000 s
   30.100  e1 v6: `look` is taken over, attempt 2
   30.100  the worker is asked for `look`, attempt 2
   31.338  the worker does `look`
   31.500  executor-1 is to be killed now
   31.500  executor-1 dies
   31.600  whatever is held is delivered once more, to anyone
   31.600  e1 v7: `look` is taken over, attempt 3
   31.600  the worker is asked for `look`, attempt 3
   31.608  the worker does `look`
   31.617  e1 v8: `look` is done, attempt 3
   31.617  e1 v9: `note` is to be judged again: InputsKnown
   31.617  e1 v10: `note` is judged: Autonomous
   31.617  e1 v11: `note` starts, attempt 1
   31.617  the worker is asked for `note`, attempt 1
   32.131  the worker does `note`
   32.645  e1 v12: `note` is done, attempt 1
   32.645  e1 v13: it is completed
   40.600  the faults stop
