"""One call of boto3 against the KMS drop-in endpoint: `boto.py METHOD PARAMETERS [SECONDS]`; or CALLS of them.

Prints what came of it as one line of JSON. An exception is told with whether boto3 has a class of its own for it, as
`except client.exceptions.X` needs. SECONDS puts this client's clock off. What is not answered at all is told as failed.
"""

import datetime
import json
import os
import sys

import boto3
import botocore.auth
import botocore.config
from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    method, parameters, skew = sys.argv[1], json.loads(sys.argv[2]), int((sys.argv + ["0"])[3])
    if skew:
        # botocore reads the clock by this name wherever it signs.
        off = datetime.timedelta(seconds=skew)
        right = botocore.auth.get_current_datetime
        botocore.auth.get_current_datetime = lambda *args, **kwargs: right(*args, **kwargs) + off
    client = boto3.client(
        "kms",
        region_name="us-east-1",
        endpoint_url=os.environ["ENDPOINT"],
        config=botocore.config.Config(read_timeout=int(os.environ.get("READ_TIMEOUT", "60"))),
    )
    try:
        attempts = 0
        for _ in range(int(os.environ.get("CALLS", "1"))):
            answer = getattr(client, method)(**parameters)
            attempts += answer.pop("ResponseMetadata")["RetryAttempts"] + 1
        print(json.dumps({"answer": answer, "attempts": attempts}, default=str))
    except BotoCoreError as error:
        print(json.dumps({"failed": str(error)}))
    except ClientError as error:
        name = error.response["Error"]["Code"]
        modelled = getattr(client.exceptions, name, None) if name in dir(client.exceptions) else None
        print(
            json.dumps(
                {
                    "exception": name,
                    "modelled": modelled is not None and isinstance(error, modelled),
                    "message": error.response["Error"]["Message"],
                    "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
                    "attempts": error.response["ResponseMetadata"]["RetryAttempts"] + 1,
                }
            )
        )


main()
