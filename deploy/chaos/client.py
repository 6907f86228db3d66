"""Commands and queries over HTTP, asked as a careful client asks: with a deadline, elsewhere next
time, and again where that is safe."""

import http.client
import json

from fleet import HOSTS

TIMEOUT_S = 8
# A feed says something at least this often.
FEED_SILENCE_S = 20


class Answer:
    """`status` is 0 where there was none."""

    def __init__(self, status, body=None, reason=None):
        self.status = status
        self.body = body or {}
        self.reason = reason

    @property
    def is_done(self):
        return 200 <= self.status < 300

    @property
    def code(self):
        return self.body.get("code") or self.reason

    @property
    def may_do_better(self):
        """Nobody knows what became of it, or it could not be done now."""
        return self.status in (0, 429) or self.status >= 500


class Client:
    def __init__(self, fleet):
        self.identities = fleet.identities
        self.commands = [fleet.listens[f"intake-{host}"] for host in HOSTS]
        self.queries = [fleet.listens[f"projector-{host}"] for host in HOSTS]

    def command(self, who, operation, body, turn, key=None):
        headers = {"Idempotency-Key": key} if key else {}
        address = self.commands[turn % len(self.commands)]
        return self.ask(address, who, "POST", f"/v1/{operation}", body, headers)

    def query(self, who, path, turn):
        return self.ask(self.queries[turn % len(self.queries)], who, "GET", path)

    def ask(self, address, who, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
        try:
            send = None if body is None else json.dumps(body)
            connection.request(method, path, send, self.headers(who) | (headers or {}))
            answer = connection.getresponse()
            read = answer.read()
            return Answer(answer.status, json.loads(read) if read else None)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(0, reason=type(error).__name__)
        finally:
            connection.close()

    def headers(self, who):
        token = self.identities[who]["token"]
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def feed(self, who, execution, after, turn):
        """Events of an execution as they come, each with its id; ends where the connection does.

        The last item is None if the execution is over.
        """
        address = self.queries[turn % len(self.queries)]
        connection = http.client.HTTPConnection(*address, timeout=FEED_SILENCE_S)
        try:
            headers = self.headers(who) | ({"Last-Event-ID": after} if after else {})
            connection.request("GET", f"/v1/executions/{execution}/events", headers=headers)
            answer = connection.getresponse()
            if answer.status == 204:
                yield None
            if answer.status != 200:
                return
            event_id = None
            while line := answer.readline():
                field, _, value = line.decode().rstrip("\r\n").partition(":")
                if field == "id":
                    event_id = value.strip()
                elif field == "data":
                    yield event_id, json.loads(value)
        except (OSError, http.client.HTTPException, ValueError):
            return
        finally:
            connection.close()
