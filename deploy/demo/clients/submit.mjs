// Asks for something, follows it to its end, and prints what happened. Node 18 or newer is enough.
import crypto from "node:crypto"; // No global before Node 20.

const { CONTROL_PLANE_URL: url, CONTROL_PLANE_TOKEN: token } = process.env;
const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };

async function ask(path, body, more) {
  const request = body && { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(url + path, { ...request, headers: { ...headers, ...more } });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

const draft = { steps: [{ id: "say", uses: "core.echo/echo", with: { message: "hello" } }] };
const intent = { workspaceId: "demo", text: "Say hello from Node", draft };
// The same request again under the same key, after a lost answer say, is the same execution.
const submitted = await ask("/v1/intents", intent, { "Idempotency-Key": crypto.randomUUID() });
const { executionId } = await submitted.json();
console.log("execution", executionId);
let told = ""; // The feed tells the past too, and ends with the execution.
for await (const chunk of (await ask(`/v1/executions/${executionId}/events`)).body.pipeThrough(new TextDecoderStream())) {
  told += chunk;
}
for (const [, event] of told.matchAll(/^data: (.*)$/gm)) console.log("event", JSON.parse(event).type);
console.log("status", (await (await ask(`/v1/executions/${executionId}`)).json()).execution.status);
console.log("trace", JSON.stringify(await (await ask(`/v1/executions/${executionId}/trace`)).json(), null, 2));
