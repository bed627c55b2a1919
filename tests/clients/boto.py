"""One call of boto3 against the KMS drop-in endpoint: `boto.py METHOD PARAMETERS [SECONDS]`.

Prints what came of it as one line of JSON. An exception is told with whether boto3 has a class of its own for it, as
`except client.exceptions.X` needs. SECONDS puts this client's clock off.
"""

import datetime
import json
import os
import sys

import boto3
import botocore.auth
import botocore.config
from botocore.exceptions import ClientError


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
        answer = getattr(client, method)(**parameters)
        answer.pop("ResponseMetadata")
        print(json.dumps({"answer": answer}, default=str))
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
