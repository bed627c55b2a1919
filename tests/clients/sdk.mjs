// One call of the AWS SDK for JavaScript v3 against the KMS drop-in endpoint: `sdk.mjs COMMAND PARAMETERS [SECONDS]`; or
// CALLS of them.
//
// Prints what came of it as one line of JSON. An exception is told with whether it is an instance of the SDK's own class
// of its name. SECONDS puts this client's clock off. What is not answered at all is told as failed.

import * as kms from "@aws-sdk/client-kms";

const [command, parameters, skew = "0"] = process.argv.slice(2);
const client = new kms.KMSClient({
  region: "us-east-1",
  endpoint: process.env.ENDPOINT,
  systemClockOffset: 1000 * Number(skew),
  maxAttempts: Number(process.env.MAX_ATTEMPTS ?? "3"),
});

try {
  let attempts = 0;
  let told;
  for (let call = 0; call < Number(process.env.CALLS ?? "1"); call++) {
    const { $metadata, ...answer } = await client.send(new kms[`${command}Command`](JSON.parse(parameters)));
    attempts += $metadata.attempts;
    told = answer;
  }
  console.log(JSON.stringify({ answer: told, attempts }));
} catch (error) {
  if (error.$metadata?.httpStatusCode === undefined) {
    console.log(JSON.stringify({ failed: `${error.code ?? error.name}: ${error.message}` }));
    process.exit();
  }
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
