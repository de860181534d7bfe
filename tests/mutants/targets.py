"""Which files are mutated, and which tests are meant to notice it, in pytest's words.

The nearest tests come first: a run ends with the first that fails. What takes long and looks from
far away (faults, the state machine) is left out.
"""

_I = "tests/integration/"
_ACTS, _CONTROL = f"{_I}control/test_acts.py", f"{_I}control/test_control.py"
_GROUND, _FENCE = f"{_I}lua/test_script_ground.py", f"{_I}lua/test_script_fence.py"
_LATE, _LOADING = f"{_I}recovery/test_late_arrivals.py", f"{_I}control/test_loading.py"
_RECOVERY, _OLDER = f"{_I}recovery/test_recovery.py", f"{_I}recovery/test_older_postgres.py"
_MASTERS, _WORKER = f"{_I}postgres/test_two_masters.py", f"{_I}log_worker/test_log_worker.py"
_RIGHTS, _ACT_EDGES = f"{_I}lua/test_script_rights.py", f"{_I}control/test_act_edges.py"
_SPLIT = f"{_I}lanes/test_split.py"
_ACT_SCRIPTS = f"{_I}control/test_act_scripts.py"
_EDGES, _MODEL = f"{_I}lua/test_script_edges.py", f"{_I}lua/test_model.py"
_LANE, _REFUSALS = f"{_I}lua/test_lane_scripts.py", f"{_I}lua/test_script_refusals.py"
_WITNESS, _BOARD = "tests/unit/postgres/test_witness.py", "tests/unit/lane/test_board.py"
_SETTLE, _EXPIRE = f"{_I}lua/test_settle.py", f"{_I}lua/test_expire.py"
_NUMBERS = f"{_GROUND}::TestTypesAndNumbers::test_no_number_is_written_with_an_exponent"
_FIRST_LOAD = f"{_GROUND}::TestTypesAndNumbers::test_the_first_load_writes_no_minus_nought"
_SCRIPT = (
    _EDGES, _REFUSALS, _FENCE, _RIGHTS, f"{_GROUND}::TestIdentity", f"{_GROUND}::TestClock",
    f"{_GROUND}::TestBoard", f"{_GROUND}::TestTypesAndNumbers::test_a_counter_that_is_no_number",
    f"{_GROUND}::TestTypesAndNumbers::test_a_key_of_another_type", _NUMBERS,
    f"{_I}lua/test_script.py", f"{_GROUND}::TestRights", f"{_GROUND}::TestTorn", _MODEL,
)  # fmt: skip
# What holds for every act.
_EVERY_ACT = (
    _ACT_SCRIPTS,
    f"{_ACTS}::test_every_act_is_published_and_journalled_with_its_note",
    f"{_ACTS}::test_an_activity_that_is_not_known_or_not_loaded",
    f"{_ACTS}::TestVersions", _RIGHTS, f"{_GROUND}::TestTorn",
)  # fmt: skip
_ALL_ACTS = (_ACT_EDGES, _ACTS, _CONTROL, f"{_LATE}::TestFencedLane")
_RECOVERING = ("tests/unit/recovery/test_recovery_plan.py", _RECOVERY, _LATE, _OLDER)

_LUA: dict[str, tuple[str, ...]] = {
    "decide_batch": _SCRIPT,
    "settle_batch": (_SETTLE, _RIGHTS),
    "expire_holds": (_EXPIRE, _RIGHTS),
    "include/batch": (_SETTLE, *_SCRIPT),
    "include/holds": (_SETTLE, _EXPIRE, _RIGHTS),
    "include/numbers": (_NUMBERS, _FIRST_LOAD, f"{_I}lua/test_script.py"),
    "include/rights": (_RIGHTS,),
    "include/act": (*_EVERY_ACT, f"{_LATE}::TestFencedLane", _NUMBERS, _ACT_EDGES),
    "include/units": (f"{_ACTS}::TestAddStock", _SPLIT, _ACT_EDGES, *_EVERY_ACT),
    "include/staged": (_LOADING, f"{_CONTROL}::TestConfigure", _RECOVERY),
    "add_stock": (f"{_ACTS}::TestAddStock", _ACT_EDGES, *_EVERY_ACT),
    "set_stock": (f"{_CONTROL}::TestSetStock", _ACT_EDGES, *_EVERY_ACT, f"{_CONTROL}::TestLoad"),
    "take_stock": (_SPLIT, *_EVERY_ACT),
    "split": (_SPLIT, *_EVERY_ACT),
    "sync": (f"{_CONTROL}::TestSync", *_EVERY_ACT),
    "archive": (f"{_I}seasons/test_archive.py", _RIGHTS),
    "pause": (f"{_ACTS}::TestPause", *_EVERY_ACT),
    "finish": (f"{_CONTROL}::TestFinish", f"{_ACTS}::TestReopen", *_EVERY_ACT),
    "reopen": (f"{_ACTS}::TestReopen", *_EVERY_ACT),
    "configure": (f"{_CONTROL}::TestConfigure", _LOADING, f"{_ACTS}::TestFields", *_EVERY_ACT),
    "load_state": (
        f"{_CONTROL}::TestLoad", _LOADING, f"{_ACTS}::TestAfterALossOfRedis",
        f"{_CONTROL}::TestSetStock", _FIRST_LOAD, _RIGHTS, _RECOVERY,
    ),
    "stage_hash": (_LANE, _LOADING, f"{_CONTROL}::TestConfigure", _RIGHTS),
    "trim_batch": (_LANE, _WORKER, _RIGHTS, f"{_OLDER}::test_storing_stops_and_says_so"),
    "check_rights": (f"{_GROUND}::TestRights", f"{_I}monitoring/test_fitness.py"),
    "claim_lane": (_LANE, _RIGHTS, f"{_LATE}::TestLease", _MASTERS),
    "fence": (_LANE, _FENCE, _RIGHTS, _RECOVERY),
    "rebuild": (_RIGHTS, _RECOVERY, f"{_FENCE}::TestGeneration"),
    "replay_dead": (_LANE, _RIGHTS, f"{_I}dead_letters/test_dead_letters_command.py"),
}  # fmt: skip
_PYTHON: dict[str, tuple[str, ...]] = {
    "postgres/sold": (
        f"{_I}postgres/test_sold.py", f"{_CONTROL}::TestSync", f"{_CONTROL}::TestConfigure",
        f"{_LATE}::TestParkedOrders", _RECOVERY, f"{_I}audit/test_audit.py",
    ),
    "recovery/rebuild": _RECOVERING,
    "recovery/plan": _RECOVERING,
    "recovery/restore": (_BOARD, _OLDER),
    "log_worker/storage": (
        f"{_I}log_worker/test_storage.py", f"{_I}log_worker/test_storage_conflicts.py",
        f"{_LATE}::TestLateStore",
    ),
    "consumer/intake": (
        "tests/unit/consumer/test_intake_stash.py", f"{_I}consumer/test_intake.py",
        f"{_I}consumer/test_consumer.py",
        f"{_I}consumer/test_consumer_recovery.py",
    ),
    "log_worker/worker": (
        f"{_I}log_worker/test_log_worker_turns.py", f"{_I}dead_letters/test_old_letters.py",
        _WORKER,
        f"{_LATE}::TestForeignRecords", _MASTERS,
    ),
    "dead_letters/from_redis": (f"{_I}dead_letters/test_old_letters.py",),
    "control/act_script": (_ACT_SCRIPTS, *_ALL_ACTS),
    "control/control": _ALL_ACTS,
    "control/moves": (_SPLIT,),
    "control/balance": ("tests/unit/control/test_balance.py", _SPLIT),
    "control/sale": (_SPLIT,),
    "control/part_rows": (_SPLIT,),
    "control/journal": ("tests/unit/postgres/test_journal_errors.py", *_ALL_ACTS),
    "control/tables": _ALL_ACTS,
    "control/loading": (
        _LOADING, _CONTROL, f"{_ACTS}::TestAfterALossOfRedis", f"{_ACTS}::TestFields"
    ),
    "postgres/witness": (
        _WITNESS, f"{_LATE}::TestLostActs", _OLDER, f"{_I}consumer/test_consumer_recovery.py"
    ),
    "control/admission": (f"{_LATE}::TestFencedLane", f"{_LATE}::TestTwoRedisOnePostgres", _OLDER),
    "postgres/lease": (
        _WITNESS, f"{_LATE}::TestLease", f"{_LATE}::TestTwoRedisOnePostgres", _MASTERS
    ),
    "consumer/guard": (
        f"{_I}consumer/test_guard.py", f"{_I}consumer/test_consumer_recovery.py",
        f"{_LATE}::TestLostActs", _MASTERS
    ),
    "lane/fence": (_FENCE, _RECOVERY),
    "lane/board": (_BOARD, _OLDER, f"{_GROUND}::TestBoard"),
}  # fmt: skip
TARGETS = {
    **{f"seckill/lua/{name}.lua": tests for name, tests in _LUA.items()},
    **{f"seckill/{name}.py": tests for name, tests in _PYTHON.items()},
}
