"""The Engine's settings: where they come from, what is refused, and what is never shown."""

import copy
import dataclasses
import hashlib
import re
from pathlib import Path

import pytest

from september.config import SETTINGS, EngineConfig, Secret, Setting, load_engine_config
from september.errors import ConfigError

SCRIPTED = {"LLM_PROVIDER": "scripted", "ENGINE_API_KEY": "dev-engine-key"}
FLAGS = [row.name for row in SETTINGS if row.kind.takes == "true | false"]
SECRETS = [row.name for row in SETTINGS if row.kind.secret]


def load(**settings: str) -> EngineConfig:
    return load_engine_config({**SCRIPTED, **settings}, None)


def refusal(**settings: str) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        load(**settings)
    return refused.value


def test_the_documented_defaults_hold() -> None:
    config = EngineConfig()
    assert (config.llm_provider, config.llm_model, config.max_tokens) == ("openai", "gpt-4o", 4096)
    assert config.sqlite_db_path == Path("/data/brain.sqlite")
    assert (config.engine_host, config.engine_port) == ("127.0.0.1", 8000)
    assert (config.channel_state_ttl_active, config.channel_state_ttl_hitl) == (10_800, 259_200)
    assert (config.bap_key_rotation_min_overlap_seconds, config.task_slots) == (0, 4)
    assert config.bap_key_rotation_max_overlap_seconds == 300
    assert config.claude_code_max_tool_use_concurrency == 10
    assert (config.max_iterations, config.compact_at) == (20, 0.8)
    assert config.max_body_bytes == 2**20
    assert config.cors_origins == ()


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("TOKEN_BUDGET_ENABLED", False),
        ("STOP_HOOKS_ENABLED", True),
        ("PRE_TOOL_HOOKS_ENABLED", True),
        ("POST_TOOL_HOOKS_ENABLED", True),
        ("HOOKS_SETTINGS_LOAD_ENABLED", True),
        ("REACTIVE_COMPACT_ENABLED", True),
        ("CACHE_HIT_MONITOR_ENABLED", True),
        ("MEDIA_PRESEND_VALIDATION_ENABLED", False),
        ("MEDIA_IMAGE_RESIZE_ENABLED", False),
        ("MEDIA_ERROR_RECOVERY_ENABLED", False),
        ("CONTENT_INGESTION_ENABLED", False),
        ("ASSET_DIRECTORY_SANDBOXED", True),
        ("SANDBOX_NETWORK", False),
    ],
)
def test_each_documented_flag_has_its_default(name: str, default: bool) -> None:
    assert getattr(load(), name.lower()) is default


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("text", ["true", "True", "TRUE", "false", "FALSE"])
def test_a_flag_is_true_or_false_in_any_letter_case(name: str, text: str) -> None:
    assert getattr(load(**{name: text}), name.lower()) is (text.lower() == "true")


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("text", ["1", "0", "yes", "on", "", "truee"])
def test_a_flag_that_is_anything_else_stops_the_boot_and_names_the_variable(
    name: str, text: str
) -> None:
    error = refusal(**{name: text})
    assert error.details == {"variable": name}
    assert name in error.message and '"true" or "false"' in error.message


@pytest.mark.parametrize(
    ("name", "text", "remedy"),
    [
        ("ENGINE_PORT", "eighty", "1 to 65535"),
        ("ENGINE_PORT", "65536", "1 to 65535"),
        ("ENGINE_PORT", "-1", "1 to 65535"),
        ("MAX_TOKENS", "0", "at least 1"),
        ("MAX_TOKENS", "1e3", "whole number"),
        ("MAX_TOKENS", "\u0664", "whole number"),  # an Arabic-Indic digit: int() would take it
        ("COMPACT_AT", "80", "0.8"),
        ("COMPACT_AT", "nan", "0.8"),
        ("LLM_TIMEOUT_S", "0", "above 0"),
        ("LLM_TIMEOUT_S", "inf", "above 0"),
        ("LLM_PROVIDER", "mistral", "anthropic"),
        ("MIGRATIONS", "manual", "auto, gate"),
        ("SANDBOX_MODE", "docker", "bubblewrap, none"),
        ("ALLOWED_ROOTS", "/srv,relative/path", "absolute"),
        ("OPENAI_BASE_URL", "localhost:11434", "http://"),
        ("ENGINE_KEY_HASH", "abc", "64 hex digits"),
        ("AD_ENCRYPTION_KEY", "short", "Fernet"),
        ("ENGINE_LOG_LEVEL", "TRACE", "DEBUG"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_the_remedy(
    name: str, text: str, remedy: str
) -> None:
    error = refusal(**{name: text})
    assert error.message.startswith(f"{name}: ") and remedy in error.message


@pytest.mark.parametrize("name", ["ENGINE_KEY_HASH", "AD_ENCRYPTION_KEY"])
def test_a_wrong_secret_is_refused_without_being_shown(name: str) -> None:
    assert "hunter2" not in str(refusal(**{name: "hunter2"}))


def test_the_environment_wins_over_the_dotenv_file(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text('LLM_MODEL="from file"\nENGINE_PORT=9001\nUNKNOWN=1\nBARE\n')
    config = load_engine_config({**SCRIPTED, "LLM_MODEL": "from env"}, dotenv)
    assert (config.llm_model, config.engine_port) == ("from env", 9001)


def test_a_dollar_sign_in_the_dotenv_file_stands_for_itself(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("LLM_API_KEY=a${HOME}b\n")
    key = load_engine_config(SCRIPTED, dotenv).llm_api_key
    assert key is not None and key.reveal() == "a${HOME}b"


def test_a_missing_dotenv_file_is_no_error_but_an_unreadable_one_is(tmp_path: Path) -> None:
    assert load_engine_config(SCRIPTED, tmp_path / ".env") == load()
    (tmp_path / ".env").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_engine_config(SCRIPTED, tmp_path / ".env")


def test_an_empty_value_counts_as_not_set() -> None:
    config = load(LLM_MODEL="", ENGINE_PORT="  ", LLM_API_KEY="")
    assert (config.llm_model, config.engine_port, config.llm_api_key) == ("gpt-4o", 8000, None)


def test_values_are_read_without_surrounding_blanks() -> None:
    assert load(ENGINE_PORT=" 9000 ").engine_port == 9000


def test_an_engine_without_a_key_does_not_boot() -> None:
    with pytest.raises(ConfigError, match=r"ENGINE_KEY_HASH.*ENGINE_API_KEY"):
        load_engine_config({"LLM_PROVIDER": "scripted"}, None)


def test_the_hash_is_made_from_the_plain_key() -> None:
    wanted = hashlib.sha256(b"dev-engine-key").hexdigest()
    assert load().engine_key_hash == Secret(wanted)


def test_key_and_hash_together_must_agree() -> None:
    wanted = hashlib.sha256(b"dev-engine-key").hexdigest()
    assert load(ENGINE_KEY_HASH=wanted.upper()).engine_key_hash == Secret(wanted)
    assert "only one" in refusal(ENGINE_KEY_HASH="0" * 64).message


@pytest.mark.parametrize("provider", ["anthropic", "openai", "gemini"])
def test_a_real_provider_needs_a_key_its_own_or_the_general_one(provider: str) -> None:
    chosen = {"LLM_PROVIDER": provider, "LLM_MODEL": "m"}
    assert "LLM_PROVIDER=scripted" in refusal(**chosen).message
    assert load(**chosen, LLM_API_KEY="a").provider_key == Secret("a")
    own = {f"{provider.upper()}_API_KEY": "b"}
    assert load(**chosen, **own).provider_key == Secret("b")
    assert load(**chosen, **own, LLM_API_KEY="a").provider_key == Secret("a")


def test_the_scripted_provider_needs_no_key() -> None:
    assert load().provider_key is None


def test_a_provider_other_than_openai_does_not_silently_get_openais_model() -> None:
    error = refusal(LLM_PROVIDER="anthropic", LLM_API_KEY="k")
    assert error.details == {"variable": "LLM_MODEL"}


def test_embeddings_are_local_without_openais_key() -> None:
    assert load().embedding_provider == "local"
    assert load(OPENAI_API_KEY="k").embedding_provider == "openai"
    assert load(OPENAI_API_KEY="k", EMBEDDING_PROVIDER="local").embedding_provider == "local"
    assert refusal(EMBEDDING_PROVIDER="openai").details == {"variable": "OPENAI_API_KEY"}


def test_workspaces_stand_beside_the_brain_and_are_the_only_allowed_root(tmp_path: Path) -> None:
    config = load(SQLITE_DB_PATH=str(tmp_path / "brain.sqlite"))
    assert config.workspace_root == tmp_path / "workspaces"
    assert config.allowed_roots == (config.workspace_root,)
    assert load(ALLOWED_ROOTS="/a, /b,").allowed_roots == (Path("/a"), Path("/b"))


def test_paths_are_absolute_and_know_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert load(SQLITE_DB_PATH="~/b.sqlite").sqlite_db_path == Path("/home/ada/b.sqlite")
    assert load(SQLITE_DB_PATH="b.sqlite").sqlite_db_path == Path.cwd() / "b.sqlite"


def test_settings_that_need_each_other_are_refused_alone() -> None:
    assert "LLM_QUOTA_WINDOW_S" in refusal(LLM_QUOTA_TOKENS="1000").message
    assert load(LLM_QUOTA_TOKENS="1000", LLM_QUOTA_WINDOW_S="60").llm_quota_window_s == 60
    assert "MAX_OVERLAP" in refusal(BAP_KEY_ROTATION_MIN_OVERLAP_SECONDS="301").message


def test_a_secret_shows_nothing_in_any_rendering() -> None:
    secret = Secret("hunter2")
    shown = f"{secret} {secret!r} {secret!s} {[secret]} {ConfigError('X', str(secret))}"
    assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"
    assert copy.deepcopy(secret) == secret != Secret("other") and secret != "hunter2"


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_shows_in_the_rendering_of_the_whole_config(name: str) -> None:
    value = {"ENGINE_KEY_HASH": hashlib.sha256(b"dev-engine-key").hexdigest()}.get(
        name, "aGVsbG9oZWxsb2hlbGxvaGVsbG9oZWxsb2hlbGxvaGU="
    )
    settings = {**SCRIPTED, name: value}
    if name == "ENGINE_API_KEY":
        settings = {"LLM_PROVIDER": "scripted", name: value}
    config = load_engine_config(settings, None)
    printed = "".join(row.shown(config) for row in SETTINGS)
    assert value not in repr(config) and value not in printed


def test_every_variable_that_holds_a_key_is_a_secret() -> None:
    keys = {row.name for row in SETTINGS if re.search(r"KEY", row.name)}
    assert keys - {
        "BAP_KEY_ROTATION_MIN_OVERLAP_SECONDS",
        "BAP_KEY_ROTATION_MAX_OVERLAP_SECONDS",
    } == set(SECRETS)


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_every_setting_is_documented_and_its_default_reads_as_itself(row: Setting) -> None:
    assert row.meaning and row.kind.takes and row.name.isupper()
    if row.default is not None:
        value = getattr(EngineConfig(), row.name.lower())
        assert row.parse(row.default) == value
        assert row.parse(row.shown(EngineConfig())) == value


def test_the_table_has_each_field_of_the_config_once() -> None:
    fields = [item.name for item in dataclasses.fields(EngineConfig)]
    assert [row.name.lower() for row in SETTINGS] == fields


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EngineConfig().engine_port = 1  # type: ignore[misc]  # that is what is tested
