"""Which files are mutated, and which tests are meant to notice it, in pytest's words.

The nearest tests come first: a run ends with the first that fails. What takes long and looks from
far away (faults, the state machine) is left out.
"""

_I = "tests/integration/"
_ACTS, _CONTROL = f"{_I}test_acts.py", f"{_I}test_control.py"
_GROUND, _FENCE = f"{_I}test_script_ground.py", f"{_I}test_script_fence.py"
_LATE, _LOADING = f"{_I}test_late_arrivals.py", f"{_I}test_loading.py"
_RECOVERY, _OLDER = f"{_I}test_recovery.py", f"{_I}test_older_postgres.py"
_MASTERS, _WORKER = f"{_I}test_two_masters.py", f"{_I}test_log_worker.py"
_RIGHTS, _ACT_EDGES = f"{_I}test_script_rights.py", f"{_I}test_act_edges.py"
_ACT_SCRIPTS = f"{_I}test_act_scripts.py"
_EDGES, _MODEL = f"{_I}test_script_edges.py", f"{_I}test_model.py"
_LANE, _REFUSALS = f"{_I}test_lane_scripts.py", f"{_I}test_script_refusals.py"
_WITNESS, _BOARD = "tests/unit/test_witness.py", "tests/unit/test_board.py"
_NUMBERS = f"{_GROUND}::TestTypesAndNumbers::test_no_number_is_written_with_an_exponent"
_FIRST_LOAD = f"{_GROUND}::TestTypesAndNumbers::test_the_first_load_writes_no_minus_nought"
_SCRIPT = (
    _EDGES, _REFUSALS, _FENCE, _RIGHTS, f"{_GROUND}::TestIdentity", f"{_GROUND}::TestClock",
    f"{_GROUND}::TestBoard", f"{_GROUND}::TestTypesAndNumbers::test_a_counter_that_is_no_number",
    f"{_GROUND}::TestTypesAndNumbers::test_a_key_of_another_type", _NUMBERS,
    f"{_I}test_script.py", f"{_GROUND}::TestRights", f"{_GROUND}::TestTorn", _MODEL,
)  # fmt: skip
# What holds for every act.
_EVERY_ACT = (
    _ACT_SCRIPTS,
    f"{_ACTS}::test_every_act_is_published_and_journalled_with_its_note",
    f"{_ACTS}::test_an_activity_that_is_not_known_or_not_loaded",
    f"{_ACTS}::TestVersions", _RIGHTS, f"{_GROUND}::TestTorn",
)  # fmt: skip
_ALL_ACTS = (_ACT_EDGES, _ACTS, _CONTROL, f"{_LATE}::TestFencedLane")
_RECOVERING = ("tests/unit/test_recovery_plan.py", _RECOVERY, _LATE, _OLDER)

_LUA: dict[str, tuple[str, ...]] = {
    "decide_batch": _SCRIPT,
    "include/numbers": (_NUMBERS, _FIRST_LOAD, f"{_I}test_script.py"),
    "include/rights": (_RIGHTS,),
    "include/act": (*_EVERY_ACT, f"{_LATE}::TestFencedLane", _NUMBERS, _ACT_EDGES),
    "include/buyers": (_LOADING, f"{_CONTROL}::TestConfigure", _RECOVERY),
    "add_stock": (f"{_ACTS}::TestAddStock", _ACT_EDGES, *_EVERY_ACT),
    "set_stock": (f"{_CONTROL}::TestSetStock", _ACT_EDGES, *_EVERY_ACT, f"{_CONTROL}::TestLoad"),
    "sync": (f"{_CONTROL}::TestSync", *_EVERY_ACT),
    "pause": (f"{_ACTS}::TestPause", *_EVERY_ACT),
    "finish": (f"{_CONTROL}::TestFinish", f"{_ACTS}::TestReopen", *_EVERY_ACT),
    "reopen": (f"{_ACTS}::TestReopen", *_EVERY_ACT),
    "configure": (f"{_CONTROL}::TestConfigure", _LOADING, f"{_ACTS}::TestFields", *_EVERY_ACT),
    "load_state": (
        f"{_CONTROL}::TestLoad", _LOADING, f"{_ACTS}::TestAfterALossOfRedis",
        f"{_CONTROL}::TestSetStock", _FIRST_LOAD, _RIGHTS, _RECOVERY,
    ),
    "stage_buyers": (_LANE, _LOADING, f"{_CONTROL}::TestConfigure", _RIGHTS),
    "trim_batch": (_LANE, _WORKER, _RIGHTS, f"{_OLDER}::test_storing_stops_and_says_so"),
    "check_rights": (f"{_GROUND}::TestRights", f"{_I}test_fitness.py"),
    "claim_lane": (_LANE, _RIGHTS, f"{_LATE}::TestLease", _MASTERS),
    "fence": (_LANE, _FENCE, _RIGHTS, _RECOVERY),
    "rebuild": (_RIGHTS, _RECOVERY, f"{_FENCE}::TestGeneration"),
    "replay_dead": (_LANE, _RIGHTS, f"{_I}test_dead_letters_command.py"),
}  # fmt: skip
_PYTHON: dict[str, tuple[str, ...]] = {
    "sold": (
        f"{_I}test_sold.py", f"{_CONTROL}::TestSync", f"{_CONTROL}::TestConfigure",
        f"{_LATE}::TestParkedOrders", _RECOVERY, f"{_I}test_audit.py",
    ),
    "recovery": _RECOVERING,
    "recovery_plan": _RECOVERING,
    "restore": (_BOARD, _OLDER),
    "storage": (
        f"{_I}test_storage.py", f"{_I}test_storage_conflicts.py", f"{_LATE}::TestLateStore",
    ),
    "intake": (
        "tests/unit/test_intake_stash.py", f"{_I}test_intake.py", f"{_I}test_consumer.py",
        f"{_I}test_consumer_recovery.py",
    ),
    "log_worker": (
        f"{_I}test_log_worker_turns.py", f"{_I}test_old_letters.py", _WORKER,
        f"{_LATE}::TestForeignRecords", _MASTERS,
    ),
    "old_letters": (f"{_I}test_old_letters.py",),
    "act_script": (_ACT_SCRIPTS, *_ALL_ACTS),
    "control": _ALL_ACTS,
    "journal": ("tests/unit/test_journal_errors.py", *_ALL_ACTS),
    "loading": (_LOADING, _CONTROL, f"{_ACTS}::TestAfterALossOfRedis", f"{_ACTS}::TestFields"),
    "witness": (_WITNESS, f"{_LATE}::TestLostActs", _OLDER, f"{_I}test_consumer_recovery.py"),
    "admission": (f"{_LATE}::TestFencedLane", f"{_LATE}::TestTwoRedisOnePostgres", _OLDER),
    "lease": (_WITNESS, f"{_LATE}::TestLease", f"{_LATE}::TestTwoRedisOnePostgres", _MASTERS),
    "guard": (
        f"{_I}test_guard.py", f"{_I}test_consumer_recovery.py", f"{_LATE}::TestLostActs", _MASTERS
    ),
    "fence": (_FENCE, _RECOVERY),
    "board": (_BOARD, _OLDER, f"{_GROUND}::TestBoard"),
}  # fmt: skip
TARGETS = {
    **{f"seckill/lua/{name}.lua": tests for name, tests in _LUA.items()},
    **{f"seckill/{name}.py": tests for name, tests in _PYTHON.items()},
}
