"""A function's settings are read from its environment; a wrong one is named in one sentence."""

from __future__ import annotations

import pytest

from asyncrep import S3Place, UsageError
from asyncrep.aws.queues import QueueRef
from asyncrep.change import ChangeKind
from asyncrep.handlers import BackupSettings, ReplicaSettings, backup_handler, entry, replicate_handler
from asyncrep.location import TableRef
from asyncrep.options import S3Access

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/letters"
ARN = "arn:aws:dynamodb:eu-west-1:210987654321:table/orders"

read = ReplicaSettings.from_environment


def test_an_empty_environment_is_a_one_way_mirror_of_everything():
    assert read({}) == ReplicaSettings()
    assert read({"ReplicaTable": "", "Guard": " ", "Where": "\n"}) == ReplicaSettings()


def test_the_names_of_dynamodb_replicator_mean_what_they_meant():
    settings = read({
        "ReplicaTable": "copies",
        "ReplicaRegion": "eu-west-1",
        "ReplicaEndpoint": "http://127.0.0.1:4567",
        "ReplicaAccessKeyId": "AKID",
        "ReplicaSecretAccessKey": "secret",
        "TurnoverRole": "AFTER",
        "TurnoverAt": "1777593600000",
    })  # fmt: skip
    assert settings.destination("orders") == TableRef("copies", "eu-west-1", "http://127.0.0.1:4567")
    assert settings.policy.selection.turnover is not None
    assert settings.policy.selection.turnover.at == 1777593600000
    assert "secret" not in repr(settings).replace("secret_access_key", "")


def test_without_a_table_the_destination_has_the_name_of_the_source():
    assert read({"ReplicaRegion": "eu-west-1"}).destination("orders") == TableRef("orders", "eu-west-1")


def test_a_table_of_another_account_is_named_by_its_arn():
    assert read({"ReplicaTable": ARN}).destination("x") == TableRef("orders", "eu-west-1", None, ARN)


def test_what_is_ours_is_read_too():
    settings = read({
        "ReplicaRoleArn": "arn:aws:iam::123456789012:role/Replicator",
        "Guard": "sequence",
        "GuardTable": "guards",
        "Events": "insert, MODIFY",
        "TtlDeletes": "FALSE",
        "Attributes": 'id, "a,b", n',
        "Rename": "n=count",
        "DeadLetter": QUEUE,
    })  # fmt: skip
    assert settings.policy.guard == "sequence"
    assert settings.policy.selection.events == {ChangeKind.INSERT, ChangeKind.MODIFY}
    assert not settings.policy.selection.ttl_deletes
    assert settings.policy.selection.attributes == frozenset({"id", "a,b", "n"})
    assert settings.dead_letters == QueueRef(QUEUE, "eu-west-1")
    assert read({"DeadLetter": "s3://letters/of/mine/"}).dead_letters == S3Place("letters", "of/mine")


def test_guards_have_the_names_that_the_command_line_gives_them():
    assert read({"Guard": "sequence"}).policy.guard_table == "asyncrep-guard"
    assert read({"Guard": "version"}).policy.version_attribute == "version"
    chosen = read({"Guard": "version", "GuardTable": "guards", "VersionAttribute": "rev"}).policy
    assert (chosen.guard_table, chosen.version_attribute) == ("guards", "rev")


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"ReplicaTable": "a b"}, r'ReplicaTable: "a b" .* is not a table name'),
        ({"ReplicaTable": "arn:aws:s3:::x"}, "ReplicaTable: .* is not a table's ARN"),
        ({"ReplicaRegion": "Ireland"}, 'ReplicaRegion: "Ireland" .* is not a Region'),
        ({"ReplicaEndpoint": "localhost:8000"}, "ReplicaEndpoint: .* must begin with http"),
        ({"ReplicaAccessKeyId": "AKID"}, "ReplicaAccessKeyId is set and ReplicaSecretAccessKey is not"),
        ({"ReplicaSecretAccessKey": "s"}, "ReplicaSecretAccessKey is set and ReplicaAccessKeyId is not"),
        ({"ReplicaRoleArn": "Replicator"}, 'ReplicaRoleArn: "Replicator" is not a role'),
        ({"Guard": "both"}, 'Guard: there is no guard "both"; it is one of none, sequence, version'),
        ({"GuardTable": "guards"}, "GuardTable is set and Guard is not"),
        ({"Guard": "sequence", "VersionAttribute": "v"}, "VersionAttribute is set and Guard is not version"),
        (
            {"Guard": "version", "GuardTable": "g", "VersionAttribute": "v", "Rename": "a=b"},
            "copies items whole",
        ),
        ({"Where": "==5"}, "Where: .* is not a condition"),
        ({"Events": "INSERT,UPSERT"}, 'Events: "UPSERT" is not an event'),
        ({"Rename": "a"}, 'Rename: "a" is not a new name'),
        ({"Attributes": "a", "WithoutAttributes": "a"}, "Attributes, WithoutAttributes: .* both copied and left"),
        ({"TtlDeletes": "maybe"}, 'TtlDeletes: "maybe" is neither true nor false'),
        ({"TurnoverRole": "BEFORE"}, "TurnoverRole: A turnover needs both"),
        ({"TurnoverRole": "BEFORE", "TurnoverAt": "noon"}, "TurnoverRole, TurnoverAt: .* milliseconds"),
        ({"DeadLetter": "/tmp/letters"}, "DeadLetter: a function's own files are gone with it"),
        ({"DeadLetter": "s3://"}, "DeadLetter: .* names no bucket"),
        ({"DeadLetter": "https://example.com/x"}, "DeadLetter: .* is not the URL of a queue"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(environment, sentence):
    with pytest.raises(UsageError, match=sentence) as refused:
        read(environment)
    assert "\n" not in str(refused.value)


# ── Backups ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_backup_needs_a_bucket_and_nothing_else():
    settings = BackupSettings.from_environment({"BackupBucket": "backups"})
    assert settings == BackupSettings(S3Place("backups"))
    assert (settings.access.region, settings.key_order, settings.dead_letters) == (None, None, None)


def test_the_names_of_dynamodb_replicator_s_backup_mean_what_they_meant():
    settings = BackupSettings.from_environment({
        "BackupBucket": "backups",
        "BackupPrefix": "/incremental/daily/",
        "BackupRegion": "eu-west-1",
        "BackupKmsKey": "alias/backups",
        "BackupBucketOwner": "123456789012",
        "TurnoverRole": "BEFORE",
        "TurnoverAt": "1777593600000",
    })  # fmt: skip
    assert settings.place == S3Place("backups", "incremental/daily")
    assert settings.access == S3Access(
        region="eu-west-1", kms_key="alias/backups", bucket_owner="123456789012"
    )
    assert settings.selection.turnover is not None
    assert settings.selection.turnover.at == 1777593600000


def test_what_is_kept_is_selected_as_it_is_for_replicas():
    settings = BackupSettings.from_environment({
        "BackupBucket": "backups",
        "BackupKeyOrder": 'id, "a,b"',
        "Where": "status=active",
        "Events": "INSERT,MODIFY",
        "TtlDeletes": "no",
        "DeadLetter": QUEUE,
    })  # fmt: skip
    assert settings.key_order == ("id", "a,b")
    assert settings.selection.events == {ChangeKind.INSERT, ChangeKind.MODIFY}
    assert (len(settings.selection.where), settings.selection.ttl_deletes) == (1, False)
    assert settings.dead_letters == QueueRef(QUEUE, "eu-west-1")


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"BackupBucket": " "}, "BackupBucket is not set"),
        ({"BackupBucket": "Backups"}, 'BackupBucket: "Backups" .* is not a bucket name'),
        ({"BackupBucket": "backups/daily"}, 'BackupBucket: "backups/daily" .* belongs into BackupPrefix'),
        ({"BackupBucket": "s3://backups"}, "BackupBucket: .* is not a bucket name"),
        ({"BackupRegion": "Ireland"}, 'BackupRegion: "Ireland" .* is not a Region'),
        ({"BackupKmsKey": "my key"}, 'BackupKmsKey: "my key" is not a KMS key'),
        ({"BackupBucketOwner": "me"}, "BackupBucketOwner: The bucket owner must be an account"),
        ({"BackupKeyOrder": "a,b,c"}, 'BackupKeyOrder: "a,b,c" is not a key'),
        ({"BackupKeyOrder": "a,a"}, 'BackupKeyOrder: "a,a" is not a key'),
        ({"BackupKeyOrder": ","}, 'BackupKeyOrder: "," is not a key'),
        ({"WithoutAttributes": "secret"}, "A backup holds whole items: Attributes, WithoutAttributes"),
        ({"TurnoverRole": "AFTER"}, "TurnoverRole: A turnover needs both"),
        ({"DeadLetter": "letters.jsonl"}, "DeadLetter: a function's own files are gone with it"),
    ],
)
def test_a_wrong_setting_of_a_backup_is_named(environment, sentence):
    with pytest.raises(UsageError, match=sentence) as refused:
        BackupSettings.from_environment({"BackupBucket": "backups"} | environment)
    assert "\n" not in str(refused.value)


def test_a_wrong_setting_fails_the_cold_start(monkeypatch):
    monkeypatch.setenv("Guard", "both")
    with pytest.raises(UsageError, match="Guard"):
        replicate_handler()
    with pytest.raises(UsageError, match="Guard"):
        _ = entry.replicate
    assert callable(entry.segment)
    with pytest.raises(UsageError, match="BackupBucket is not set"):
        backup_handler()
    with pytest.raises(AttributeError, match="no attribute 'restore'"):
        _ = entry.restore
