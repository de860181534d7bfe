"""Exit codes of the commands. `--help` of each command lists the ones that it uses."""

OK = 0
# The command ran and the answer is no: an invariant is violated, an act was refused.
FAILED = 1
# The command line or the configuration is wrong, or a check could not be made.
USAGE = 2
# A service could not be reached within `connect_timeout`.
UNREACHABLE = 3
# What was waited for did not come within the time that the command line gives.
NOT_IN_TIME = 4
# From a consumer process to its parent: its Kafka client cannot unpack a batch.
CANNOT_UNPACK = 5
# A second signal: the process ended at once, in the middle of its work.
SECOND_SIGNAL = 130
