"""Stacks as people deploy them: with as few parameters as they can, and with all that the templates offer."""

from __future__ import annotations

from tests.support.cloudformation import ACCOUNT

REGION = "us-east-1"
STREAM = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/stream/2026-05-01T12:00:00.000"
CLUSTER = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/main"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"
REPOSITORY = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/tools/asyncrep"
ROLE = "arn:aws:iam::210987654321:role/Replicate"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"

_CODE = {"CodeBucket": "code", "CodeKey": "asyncrep.zip"}
_FUNCTION = {"StreamArn": STREAM, "ReplicaRegion": "eu-west-1", **_CODE}
_CONTAINER = {
    "Subnets": "subnet-11111111,subnet-22222222",
    "SecurityGroups": "sg-11111111",
    "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/tools/asyncrep:1",
}
_WATCHED = {"AlarmTopicArn": TOPIC}

LEAST = {
    "replicator": _FUNCTION,
    "mirror": _FUNCTION,
    "backup": {"StreamArn": STREAM, **_CODE},
    "worker": {
        "SourceStreamArn": STREAM,
        "Destination": "eu-west-1/copies",
        "TaskName": "nightly",
        "ClusterName": "main",
        **_CONTAINER,
    },
    "schedule": {
        "PrimaryTable": "orders",
        "Replica": "eu-west-1/copies",
        "ClusterArn": CLUSTER,
        **_CONTAINER,
    },
}
"""The parameters of each template that have no default."""

MOST = {
    "replicator": {
        **LEAST["replicator"],
        **_WATCHED,
        "ReplicaTable": "copies",
        "GuardTable": "guard",
        "Where": "status=active,n>=5",
        "Events": "INSERT,MODIFY",
        "TtlDeletes": "false",
        "WithoutAttributes": "secret",
        "Rename": "old=new",
        "StartingPosition": "LATEST",
        "BatchSize": "1000",
        "BatchingWindow": "5",
        "ParallelizationFactor": "4",
        "MaximumRecordAge": "3600",
        "MaximumRetryAttempts": "7",
    },
    "mirror": {
        **LEAST["mirror"],
        **_WATCHED,
        "ReplicaTable": "copies",
        "VersionAttribute": "_rev",
        "GuardTable": "guard",
        "CreateGuardTable": "false",
        "Enabled": "true",
    },
    "backup": {
        **LEAST["backup"],
        **_WATCHED,
        "Bucket": "backups-of-ours",
        "BucketOwner": ACCOUNT,
        "Prefix": "incremental/daily",
        "KmsKey": KEY,
        "KeyOrder": "id",
        "Where": "status=active,n>=5",
        "Events": "INSERT,MODIFY",
        "TtlDeletes": "false",
        "BatchSize": "1000",
    },
    "worker": {
        **LEAST["worker"],
        **_WATCHED,
        "SecondDestination": "ap-southeast-2/orders",
        "ThirdDestination": "sa-east-1/orders",
        "Guard": "version",
        "GuardTable": "guard",
        "VersionAttribute": "_rev",
        "CreateLeaseTable": "false",
        "Start": "latest",
        "ExtraOptions": "--poll,0.5,--concurrency,8",
        "ImageRepositoryArn": REPOSITORY,
        "MetricNamespace": "Orders/Replicas",
    },
    "schedule": {
        **LEAST["schedule"],
        **_WATCHED,
        "Replica": "eu-west-1/orders",
        "Repair": "true",
        "ExtraOptions": "--settle,0,--segments,2",
        "ImageRepositoryArn": REPOSITORY,
        "MetricNamespace": "Orders/Replicas",
    },
}
"""The same with everything that can be added."""

_BACKUPS = {name: each for name, each in LEAST["schedule"].items() if name != "Replica"}
BACKUPS = {**_BACKUPS, "BackupBucket": "backups-of-ours"}
"""The parameters of a schedule that makes backups, and compares nothing."""

ALL_BACKUPS = {
    **BACKUPS,
    **MOST["schedule"],
    "BackupPrefix": "tables/daily",
    "BackupKeyArn": KEY,
    "BackupOptions": "--read-percent,25,--segments,2",
    "KeepDaily": "3",
    "KeepWeekly": "2",
    "KeepMonthly": "0",
}
"""The same with everything, and a replica to compare with."""

STACKS = [(name, given) for parameters in (LEAST, MOST) for name, given in parameters.items()]
STACKS += [("schedule", BACKUPS), ("schedule", ALL_BACKUPS)]
IDS = [f"{name}-{extent}" for extent in ("least", "most") for name in LEAST]
IDS += ["schedule-backups", "schedule-all"]
