// One call of the AWS SDK for JavaScript v3 against the KMS drop-in endpoint: `sdk.mjs COMMAND PARAMETERS [SECONDS]`.
//
// Prints what came of it as one line of JSON. An exception is told with whether it is an instance of the SDK's own class
// of its name. SECONDS puts this client's clock off.

import * as kms from "@aws-sdk/client-kms";

const [command, parameters, skew = "0"] = process.argv.slice(2);
const client = new kms.KMSClient({
  region: "us-east-1",
  endpoint: process.env.ENDPOINT,
  systemClockOffset: 1000 * Number(skew),
  maxAttempts: Number(process.env.MAX_ATTEMPTS ?? "3"),
});

try {
  const { $metadata, ...answer } = await client.send(new kms[`${command}Command`](JSON.parse(parameters)));
  console.log(JSON.stringify({ answer, attempts: $metadata.attempts }));
} catch (error) {
  const modelled = kms[error.name];
  console.log(
    JSON.stringify({
      exception: error.name,
      modelled: modelled !== undefined && error instanceof modelled,
      message: error.message,
      status: error.$metadata?.httpStatusCode,
      attempts: error.$metadata?.attempts,
    }),
  );
}
