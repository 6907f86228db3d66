// Asks for something by a CloudEvent in the durable inbox: structured, binary, and again. All is one
// execution. What the broker acknowledges waits there until it is taken, whoever runs meanwhile.
import { readFileSync } from "node:fs";
import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";
import { CloudEvent, HTTP } from "cloudevents";

// `<workspace>.<principal>`: the broker lets it publish to its own inbox and nowhere else.
const user = process.env.CONTROL_PLANE_NATS_USER;
const broker = await connect({
  servers: process.env.CONTROL_PLANE_NATS_URL.replace("nats://", ""),
  user,
  pass: readFileSync(process.env.CONTROL_PLANE_NATS_PASSWORD_FILE, "utf8").trim(),
});
const inbox = jetstream(broker);
const order = process.argv[2];
const draft = { steps: [{ id: "say", uses: "core.echo/echo", with: { message: order } }] };
const event = new CloudEvent({
  id: order,
  source: "/shop",
  type: "controlPlane.intent.submit",
  datacontenttype: "application/json",
  data: { workspaceId: "demo", text: `Say ${order}`, draft },
});
for (const mode of ["structured", "binary", "structured", "binary"]) {
  const message = HTTP[mode](event); // NATS has the same two modes, with the headers of HTTP.
  const sent = headers();
  for (const [name, value] of Object.entries(message.headers)) sent.set(name, String(value));
  const kept = await inbox.publish(`cp.inbox.${user}`, message.body, { headers: sent });
  console.log(mode, "is kept in", kept.stream, "as", kept.seq);
}
await broker.close();
