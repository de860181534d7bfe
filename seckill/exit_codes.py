"""Exit codes of the commands, by name. `--help` of each command repeats the ones that it uses."""

OK = 0
# The work was done and the answer is no: an invariant violated, an act refused.
FAILED = 1
# The command line or the configuration is wrong, or a check could not be made.
USAGE = 2
# A service could not be reached within `connect_timeout`.
UNREACHABLE = 3
# run_consumer --drain: not everything was decided within --drain-limit.
NOT_DRAINED = 4
# Of a consumer process, for its parent: its Kafka client cannot unpack what comes.
CANNOT_UNPACK = 5
# A second signal: ended at once, in the middle of the work.
SECOND_SIGNAL = 130
