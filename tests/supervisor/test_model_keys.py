"""Which key an agent's engine is given: its own, else the hive's, else the environment's; never another's."""

from pathlib import Path

from hive_supervisor.containers import model_keys

ENVIRON = {"ANTHROPIC_API_KEY": "from the environment", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}


def test_its_own_file_wins_over_the_hives_and_that_over_the_environment(tmp_path: Path) -> None:
    assert model_keys("ada", tmp_path, {}) == {}
    assert model_keys("ada", tmp_path, ENVIRON) == {"ANTHROPIC_API_KEY": "from the environment"}
    (tmp_path / "model-key").write_text("sk-ant-api03-hive\n")
    assert model_keys("ada", tmp_path, ENVIRON) == {"ANTHROPIC_API_KEY": "sk-ant-api03-hive"}
    (tmp_path / "model-key-ada").write_text("sk-ant-oat01-ada\n")
    assert model_keys("ada", tmp_path, ENVIRON) == {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-ada"}
    assert model_keys("bob", tmp_path, ENVIRON) == {"ANTHROPIC_API_KEY": "sk-ant-api03-hive"}
