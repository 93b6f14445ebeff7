"""Configuration: defaults < file < environment; what is wrong is named by its field."""

from pathlib import Path

import pytest

from seawall.node.charter import Charter, CharterFault, Terms, found, open_charter, read_genesis
from seawall.node.config import AuditorConfig, ConfigFault, ReplicaConfig, load_config, write_toml
from seawall.node.keys import KeyFault, make_seed, read_key, write_seed
from seawall.protocol.commands import AssetTerms, Role
from seawall.protocol.signatures import SigningKey

WHOLE: dict[str, str | int | float | list[str]] = {
    "name": "replica-1",
    "urls": ["nats://127.0.0.1:1", "nats://127.0.0.1:2"],
    "genesis_file": "genesis.bin",
    "folder": 'a "quoted" \\ folder',
    "key_file": "k.seed",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    write_toml(path, WHOLE)
    return path


def test_the_file_wins_over_defaults_and_the_environment_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(ReplicaConfig, file)
    assert (config.name, config.urls) == ("replica-1", tuple(WHOLE["urls"]))  # type: ignore[arg-type]
    assert config.folder == Path('a "quoted" \\ folder')
    assert config.status_interval_s == 1.0
    write_toml(file, WHOLE | {"status_interval_s": 0.5, "metrics_port": 0})
    config = load_config(ReplicaConfig, file)
    assert (config.status_interval_s, config.metrics_port) == (0.5, 0)
    monkeypatch.setenv("SEAWALL_STATUS_INTERVAL_S", "0.25")
    monkeypatch.setenv("SEAWALL_URLS", '["nats://127.0.0.1:9"]')
    config = load_config(ReplicaConfig, file)
    assert (config.status_interval_s, config.urls) == (0.25, ("nats://127.0.0.1:9",))
    assert load_config(ReplicaConfig, file, status_interval_s=2).status_interval_s == 2


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NAME", "GENESIS_FILE", "FOLDER"):
        monkeypatch.setenv(f"SEAWALL_{name}", "auditor")
    monkeypatch.setenv("SEAWALL_URLS", '["nats://127.0.0.1:9"]')
    monkeypatch.setenv("SEAWALL_CACHE_DIR", "not ours, and no mistake")
    assert load_config(AuditorConfig, None).name == "auditor"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "Two Words"}, "name:"),
        ({"urls": []}, "urls:"),
        ({"vote_interval_s": 0}, "vote_interval_s:"),
        ({"metrics_port": 70000}, "metrics_port:"),
        ({"log_level": "loud"}, "log_level:"),
        ({"nmae": "x"}, "nmae:"),
    ],
)
def test_what_is_wrong_is_named(
    file: Path, change: dict[str, str | int | float | list[str]], told: str
) -> None:
    write_toml(file, WHOLE | change)
    with pytest.raises(ConfigFault) as fault:
        load_config(ReplicaConfig, file)
    (line,) = str(fault.value).splitlines()
    assert line.startswith(told)
    assert f"SEAWALL_{told[:-1].upper()}" in line


def test_all_that_is_missing_is_named_at_once(file: Path) -> None:
    write_toml(file, {"name": "a"})
    with pytest.raises(ConfigFault) as fault:
        load_config(ReplicaConfig, file)
    told = [line.split(":")[0] for line in str(fault.value).splitlines()]
    assert told == ["urls", "genesis_file", "folder", "key_file"]


def test_no_file_no_toml_and_no_json_are_said_so(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigFault, match="no such file"):
        load_config(ReplicaConfig, tmp_path / "absent.toml")
    monkeypatch.setenv("SEAWALL_URLS", "nats://127.0.0.1:9")
    with pytest.raises(ConfigFault, match="urls"):
        load_config(ReplicaConfig, file)
    monkeypatch.delenv("SEAWALL_URLS")
    file.write_text("name = [")
    with pytest.raises(ConfigFault, match=r"config\.toml"):
        load_config(ReplicaConfig, file)


# Keys and charters -------------------------------------------------------------------------


def test_a_key_is_its_owners_alone(tmp_path: Path) -> None:
    seed, path = make_seed(), tmp_path / "keys" / "a.seed"
    write_seed(path, seed)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path).public_key == SigningKey(seed).public_key
    with pytest.raises(FileExistsError):
        write_seed(path, make_seed())
    assert read_key(path).public_key == SigningKey(seed).public_key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.seed"
    write_seed(path, make_seed())
    path.chmod(mode)
    with pytest.raises(KeyFault, match="others"):
        read_key(path)


@pytest.mark.parametrize("content", [b"", b"zz", b"ab" * 31, b"ab" * 33, b"\xff\xfe"])
def test_what_is_no_seed_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.seed"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFault, match=r"a\.seed"):
        read_key(path)
    with pytest.raises(KeyFault, match="absent"):
        read_key(tmp_path / "absent.seed")


TERMS = Terms("house", {"alice": Role.CLIENT, "clock": Role.CLOCK}, (AssetTerms("USD", 6),))


def test_a_founded_house_is_found_again(tmp_path: Path) -> None:
    charter = found(tmp_path, TERMS)
    again = Charter.load(tmp_path)
    assert again.payload == charter.payload
    assert again.log_id == charter.log_id
    assert again.replica_names == ("replica-1", "replica-2", "replica-3")
    for name in ("alice", "clock", *again.replica_names):
        assert again.keys[name].public_key == charter.keys[name].public_key
    assert again.sender_id("clock") == 2
    assert sorted(again.sender_keys()) == [1, 2]
    assert open_charter(tmp_path, TERMS).log_id == charter.log_id
    with pytest.raises(FileExistsError):
        found(tmp_path, TERMS)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "keys").iterdir()} == {0}


def test_two_houses_never_share_a_log(tmp_path: Path) -> None:
    assert found(tmp_path / "a", TERMS).log_id != found(tmp_path / "b", TERMS).log_id


def test_a_folder_without_a_genesis_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CharterFault, match=r"genesis\.bin"):
        Charter.load(tmp_path)
    path = tmp_path / "genesis.bin"
    path.write_bytes(b"\x01\x01")
    with pytest.raises(CharterFault, match="no genesis"):
        read_genesis(path)
    assert list(tmp_path.iterdir()) == [path]
