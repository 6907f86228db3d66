// Asks for something by a CloudEvent over HTTP: structured, binary, and again. All is one execution.
import { CloudEvent, HTTP } from "cloudevents";

const { CONTROL_PLANE_URL: url, CONTROL_PLANE_TOKEN: token } = process.env;
const order = process.argv[2];
const draft = { steps: [{ id: "say", uses: "core.echo/echo", with: { message: order } }] };
const event = new CloudEvent({
  // `source` and `id` say what is the same event.
  id: order,
  source: "/shop",
  type: "controlPlane.intent.submit",
  datacontenttype: "application/json",
  data: { workspaceId: "demo", text: `Say ${order}`, draft },
});
for (const mode of ["structured", "binary", "structured", "binary"]) {
  const { headers, body } = HTTP[mode](event);
  const request = { method: "POST", headers: { ...headers, Authorization: `Bearer ${token}` }, body };
  const answer = await fetch(`${url}/v1/events`, request);
  const read = await answer.json();
  if (!answer.ok) throw new Error(JSON.stringify(read));
  console.log(mode, "execution", read.executionId);
}
